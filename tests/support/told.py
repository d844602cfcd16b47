"""What an exported file tells of itself, as its own library reads it."""

from pathlib import Path


def told_by(runtime: str, folder: Path) -> dict[str, str]:
    """The metadata of an export to a runtime, by name."""
    if runtime == "onnx":
        import onnxruntime

        return dict(onnxruntime.InferenceSession(str(folder / "model.onnx")).get_modelmeta().custom_metadata_map)
    if runtime == "openvino":
        from headstart.backbones.runtimes import openvino_library

        whole = openvino_library().Core().read_model(folder / "model.xml")
        return {name: whole.get_rt_info([name]).astype(str) for name in ("headstart", "preparation", "labels")}
    import torch

    told = {f"{name}.txt": "" for name in ("headstart", "preparation", "labels")}
    torch.export.load(folder / "model.pt2", extra_files=told)
    return {name.removesuffix(".txt"): text for name, text in told.items()}
