"""The image tasks of the suite.

Data sets without an official split are split by key (`hash_split`). Classes with too few images on either side, and
folders that are not classes (`unsorted`, `misc`), are left out.
"""

from functools import partial

from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.suite.task import TaskSpec

DIGITS = tuple("0123456789")
EMOJI_CATEGORIES = (
    *("Activities", "Animals & Nature", "Flags", "Food & Drink", "Objects", "People & Body"),
    *("Smileys & Emotion", "Symbols", "Travel & Places"),
)
TWITTER, GOOGLE, FLUENT = ("emoji-twitter",), ("emoji-twitter", "emoji-google"), ("emoji-twitter", "emoji-fluent")
VENDORS = ("emoji-twitter", "emoji-google", "emoji-fluent")
LECUN = "LeCun et al. 1998"

IMAGES = {
    "mnist": TaskSpec(
        "MNIST digits, 5,000 of either official file", images.mnist_5k, DIGITS,
        5000, 5000, 0, "a digit", ("mnist",), "ISC (package)", LECUN,
    ),
    "cifar10": TaskSpec(
        "CIFAR-10: its 10,000 test images under a split of our own", images.cifar10,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        5000, 5000, 0, "an image", ("bigbench",), "Apache-2.0 (package)", "Krizhevsky 2009",
    ),
    "textile": TaskSpec(
        "simulated textiles: sound, with a local or a global fault", images.textile, ("global", "local", "nominal"),
        1034, 966, 0, "an image", ("textile",), "MIT", "conformal-clip-data 0.1.4",
    ),
    "emoji-twitter": TaskSpec(
        "category of an emoji, drawn by Twitter", partial(images.emoji, "twitter"), EMOJI_CATEGORIES,
        977, 909, 20, "an emoji", TWITTER, "CC-BY-4.0", "emoji-datasource 16.0.0",
    ),
    "emoji-google": TaskSpec(
        "category of an emoji, drawn by Google", partial(images.emoji, "google"), EMOJI_CATEGORIES,
        977, 922, 7, "an emoji", GOOGLE, "Apache-2.0", "emoji-datasource 16.0.0",
    ),
    "emoji-fluent": TaskSpec(
        "category of an emoji, drawn by Microsoft", partial(images.emoji, "fluent"), EMOJI_CATEGORIES,
        944, 907, 1, "an emoji", FLUENT, "MIT", "fluent-emoji-3d 1.1.0",
    ),
    "emoji-twitter-to-google": TaskSpec(
        "category of an emoji: the provider knows Twitter's, the clients hold Google's",
        partial(images.emoji, "google"), EMOJI_CATEGORIES,
        977, 922, 7, "an emoji", GOOGLE, "Apache-2.0, CC-BY-4.0", "emoji-datasource 16.0.0",
        provider_task="emoji-twitter", head="emoji",
    ),
    "emoji-twitter-to-fluent": TaskSpec(
        "category of an emoji: the provider knows Twitter's, the clients hold Microsoft's",
        partial(images.emoji, "fluent"), EMOJI_CATEGORIES,
        944, 907, 1, "an emoji", FLUENT, "MIT, CC-BY-4.0", "fluent-emoji-3d 1.1.0",
        provider_task="emoji-twitter", head="emoji",
    ),
    "emoji-tones": TaskSpec(
        "skin tone of an emoji, drawn by Twitter", partial(images.emoji_tones, "twitter"),
        ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"),
        770, 810, 0, "an emoji", TWITTER, "CC-BY-4.0", "emoji-datasource 16.0.0",
    ),
    "emoji-faces": TaskSpec(
        "mood of a face, by three vendors", partial(images.emoji_subgroups, "face-"),
        ("face-concerned", "face-neutral-skeptical", "face-smiling", "face-unwell"),
        118, 84, 0, "an emoji", VENDORS, "CC-BY-4.0, Apache-2.0, MIT", "emoji-datasource 16.0.0",
        note="a linear probe on the features of up to 1,500 training examples reaches .59 (five-fold), but a head "
             "sees only the four scores that the provider made of 4 examples a class",
    ),
    "emoji-animals": TaskSpec(
        "kind of an animal, by three vendors", partial(images.emoji_subgroups, "animal-"),
        ("animal-bird", "animal-bug", "animal-mammal", "animal-marine"),
        174, 188, 0, "an emoji", VENDORS, "CC-BY-4.0, Apache-2.0, MIT", "emoji-datasource 16.0.0",
        note="a linear probe on the features of up to 1,500 training examples reaches .85 (five-fold), but a head "
             "sees only the four scores that the provider made of 4 examples a class",
    ),
    "emoji-food": TaskSpec(
        "kind of a dish, by three vendors", partial(images.emoji_subgroups, "food-"),
        ("food-asian", "food-fruit", "food-prepared", "food-vegetable"),
        156, 111, 0, "an emoji", VENDORS, "CC-BY-4.0, Apache-2.0, MIT", "emoji-datasource 16.0.0",
    ),
    "clipart": TaskSpec(
        "folder of a drawing", images.clipart,
        (
            *("animals", "buildings", "computer", "education", "food", "geography", "office", "people", "plants"),
            *("recreation", "shapes", "signs_and_symbols", "special", "tools", "transportation"),
        ),
        3271, 3319, 35, "a file name", ("openclipart",), "public domain", "openclipart 0.18",
    ),
    "wesnoth-races": TaskSpec(
        "race of a game's unit", images.wesnoth_races,
        (
            *("drakes", "dunefolk", "dwarves", "elves-wood", "goblins", "human-loyalists", "human-magi"),
            *("human-outlaws", "human-peasants", "merfolk", "monsters", "nagas", "orcs", "saurians", "trolls"),
            *("undead", "undead-skeletal"),
        ),
        2798, 2744, 26, "a unit, with all its frames", ("wesnoth",), "GPL-2.0-or-later", "Wesnoth 1.16.9",
    ),
    "wesnoth-terrain": TaskSpec(
        "terrain of a game's tile", images.wesnoth_terrain,
        (
            *("bridge", "castle", "cave", "embellishments", "flat", "forest", "frozen", "grass", "hills", "interior"),
            *("mountains", "portals", "sand", "swamp", "unwalkable", "village", "walls", "water"),
        ),
        2373, 1930, 46, "a tile, with its variants", ("wesnoth",), "GPL-2.0-or-later", "Wesnoth 1.16.9",
    ),
    "faenza": TaskSpec(
        "context of an icon", images.faenza, ("actions", "apps", "devices", "mimetypes", "places", "status"),
        352, 333, 14, "a file name", ("faenza",), "GPL-3.0-or-later", "Faenza 1.3.1",
        note="a linear probe on the features of 327 training examples reaches .64 (five-fold), but a head sees only "
        "the six scores that the provider made of 4 examples a class; nearly half of the tests are of one class",
    ),
    "scripts": TaskSpec(
        "script of a letter", images.scripts, tuple(images.SCRIPTS),
        1801, 1681, 72, "a letter, regular and bold", ("noto",), "OFL-1.1", "Noto 20201225",
    ),
    "letters": TaskSpec(
        "A to J in many styles", images.letters, tuple("ABCDEFGHIJ"),
        292, 275, 0, "a style", ("noto",), "OFL-1.1", "Noto 20201225",
    ),
    "serifs": TaskSpec(
        "type with serifs or without, in 16 scripts", images.serifs, ("sans", "serif"),
        2652, 2524, 28, "a letter in all types", ("noto",), "OFL-1.1", "Noto 20201225",
        note="a linear probe on the features of up to 1,500 training examples reaches .76 (five-fold), but a head "
             "sees only the two scores that the provider made of 4 examples a class",
    ),
    "textures": TaskSpec(
        "patches of brick, grass and gravel", images.textures, ("brick", "grass", "gravel"),
        315, 315, 0, "half of a photograph", ("scikit-image",), "BSD-3-Clause", "scikit-image 0.26.0",
    ),
    "biased-mnist-80": TaskSpec(
        "MNIST on colours that tell the digit, ρ = .8; in the test .2", partial(images.biased_mnist, 0.8), DIGITS,
        5000, 5000, 0, "a digit", ("mnist",), "ISC (package)", "Bahng et al. 2020; Oh et al. 2023",
    ),
    "biased-mnist-90": TaskSpec(
        "MNIST on colours that tell the digit, ρ = .9; in the test .1", partial(images.biased_mnist, 0.9), DIGITS,
        5000, 4999, 1, "a digit", ("mnist",), "ISC (package)", "Bahng et al. 2020; Oh et al. 2023",
    ),
    "loc-mnist-1": TaskSpec(
        "the digit at the edge, another one of its size in the centre", partial(images.loc_mnist, 1), DIGITS,
        5000, 5000, 0, "a digit", ("mnist",), "ISC (package)", "Oh et al. 2023",
    ),
    "loc-mnist-4": TaskSpec(
        "the digit at the edge, another one of four times its size in the centre", partial(images.loc_mnist, 4), DIGITS,
        5000, 5000, 0, "a digit", ("mnist",), "ISC (package)", "Oh et al. 2023",
        note="the model looks at the distractor, four times as large: a linear probe on the features of 1,500 "
             "training examples reaches .20 (five-fold)",
    ),
    "shapes": TaskSpec(
        "circle, cross, square or triangle", images.shapes, ("circle", "cross", "square", "triangle"),
        240, 240, 0, "a drawing", (), "Apache-2.0", "drawn by fedbbpt",
    ),
    "stripes": TaskSpec(
        "direction of noisy stripes", images.stripes, ("0", "45", "90", "135"),
        240, 240, 0, "a drawing", (), "Apache-2.0", "drawn by fedbbpt",
    ),
    "pillow-letters": TaskSpec(
        "A to J in Pillow's own type", images.pillow_letters, tuple("ABCDEFGHIJ"),
        600, 600, 0, "a drawing", (), "as Pillow", "drawn by fedbbpt",
    ),
    "sample-photos": TaskSpec(
        "patches of a temple and of a flower", images.sample_photos, ("china", "flower"),
        216, 216, 0, "half of a photograph", (), "CC-BY-2.0", "scikit-learn's sample images",
        extra="local",
    ),
}  # fmt: skip
