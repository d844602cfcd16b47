"""◆ One file a source of backbones. A backbone is a frozen function from a prepared batch to rows; it never sees labels."""

from headstart.backbones.backbone import Source
from headstart.core.registry import Registry

SOURCES: Registry[Source] = Registry(
    "headstart.backbones",
    "backbone source",
    Source,
    frozenset(
        {
            "backbone",
            "choice",
            "ctranslate2_weights",
            "feeds",
            "exported",
            "foreign",
            "fourier",
            "graph",
            "hub",
            "built",
            "records",
            "licences",
            "known",
            "first_use",
            "keras_config",
            "keras_network",
            "layers",
            "mel",
            "module_identity",
            "network",
            "onnx_wire",
            "pooling",
            "precision",
            "pretrained_folder",
            "readout",
            "runtimes",
            "torchvision_schemas",
            "transformers_kinds",
            "weights",
            "whisper_encoder",
        }
    ),
)
