"""The paper's Tables III–VII as printed: accuracy, F1 and AUC of each row, and the kind of run behind it."""

from __future__ import annotations

# Table III: accuracy, F1, AUC for random and for ImageNet weights
TABLE_3 = {
    "vgg16": ((0.66, 0.58, 0.74), (0.76, 0.76, 0.82)),
    "resnet18": ((0.67, 0.66, 0.76), (0.74, 0.73, 0.82)),
    "resnet50": ((0.69, 0.72, 0.76), (0.80, 0.81, 0.88)),
    "densenet121": ((0.76, 0.77, 0.82), (0.79, 0.79, 0.88)),
    "densenet169": ((0.80, 0.79, 0.86), (0.83, 0.81, 0.87)),
    "efficientnet_b0": ((0.72, 0.71, 0.76), (0.77, 0.78, 0.89)),
    "efficientnet_b1": ((0.70, 0.62, 0.77), (0.79, 0.79, 0.84)),
    "crnet": ((0.72, 0.76, 0.77), (0.73, 0.76, 0.79)),
}
# Tables IV–VII: (row, title, run, accuracy, F1, AUC) by backbone
TABLE_4 = (
    ("random", "Random Initialization", "random", 0.80, 0.79, 0.86),
    ("imagenet", "Pretrain on ImageNet", "imagenet", 0.83, 0.81, 0.87),
    ("lnm", "Pretrain on LNM", "lnm", 0.80, 0.82, 0.87),
    ("imagenet-lnm", "Pretrain first on ImageNet, then on LNM", "imagenet-lnm", 0.81, 0.82, 0.89),
)
TABLE_5 = {
    "resnet50": (
        ("trans", "Trans", "imagenet", 0.80, 0.81, 0.88),
        ("self-trans", "Self-Trans", "self-trans", 0.84, 0.83, 0.91),
    ),
    "densenet169": (
        ("trans", "Trans", "imagenet", 0.83, 0.81, 0.87),
        ("self-trans", "Self-Trans", "self-trans", 0.86, 0.85, 0.94),
    ),
}
TABLE_6 = {
    "resnet50": (
        ("method1", "Method 1", "ssl-random-covidct", 0.69, 0.63, 0.66),
        ("method2", "Method 2", "ssl-covidct", 0.83, 0.83, 0.91),
        ("method3", "Method 3", "ssl-luna", 0.75, 0.78, 0.85),
        ("method4", "Method 4", "rotation", 0.81, 0.81, 0.88),
        ("self-trans", "Self-Trans", "self-trans", 0.84, 0.83, 0.91),
    ),
    "densenet169": (
        ("method1", "Method 1", "ssl-random-covidct", 0.70, 0.63, 0.77),
        ("method2", "Method 2", "ssl-covidct", 0.86, 0.85, 0.91),
        ("method3", "Method 3", "ssl-luna", 0.74, 0.76, 0.86),
        ("method4", "Method 4", "rotation", 0.83, 0.82, 0.88),
        ("self-trans", "Self-Trans", "self-trans", 0.86, 0.85, 0.94),
    ),
}
# Its unfrozen rows are Method 2 of Table VI (SSL without LUNA), not Self-Trans
TABLE_7 = {
    "resnet50": (
        ("frozen", "Frozen", "ssl-covidct-frozen", 0.70, 0.63, 0.77),
        ("unfrozen", "Unfrozen", "ssl-covidct", 0.83, 0.83, 0.91),
    ),
    "densenet169": (
        ("frozen", "Frozen", "ssl-covidct-frozen", 0.79, 0.77, 0.83),
        ("unfrozen", "Unfrozen", "ssl-covidct", 0.86, 0.85, 0.91),
    ),
}
