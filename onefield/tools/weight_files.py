"""What a file of weights is, for ``onefield inspect``."""

from __future__ import annotations

from pathlib import Path

from onefield.errors import DataError

Description = tuple[dict[str, object], list[str]]


def described_weights(path: Path) -> Description | None:
    """Facts, for machines and for people, of a fit (or its folder), a learned start, a decoder, or a generator or judge
    of fields; None for all else.

    Raises:
        DataError: one of these, but damaged, or other weights.
    """
    from onefield.training.fit_methods.learned_start import LEARNED_START_FILE
    from onefield.training.fitted import FIT_FILE
    from onefield.training.gradient_origin import DECODER_FILE
    from onefield.training.weight_space.generator import GENERATOR_FILE
    from onefield.training.weight_space.judge import JUDGE_FILE

    file = path / "field.safetensors" if path.is_dir() else path
    readers = {
        FIT_FILE: _fit,
        LEARNED_START_FILE: _start,
        DECODER_FILE: _decoder,
        GENERATOR_FILE: _generator,
        JUDGE_FILE: _judge,
    }
    if not file.is_file() or file.suffix != ".safetensors":
        return None
    for kind, read in readers.items():
        if kind.marks(file):
            return read(file)
    raise DataError(f"{file} holds no weights that Onefield knows, or is damaged; write it again.")


def _fit(file: Path) -> Description:
    import torch

    from onefield.training.fitted import load_fitted

    fitted = load_fitted(file)
    parameters = sum(weight.numel() for weight in fitted.field.parameters())
    result = {"kind": "fit", "file": str(file), "signal": fitted.kind, "field": fitted.recipe.field}
    result |= {"shape": list(fitted.shape), "parameters": parameters, "metrics": fitted.metrics}
    samples = " of " + " x ".join(map(str, reversed(fitted.shape))) + " samples" if fitted.shape else ""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in fitted.metrics.items() if name != "parameters")
    lines = [f"{file}: {fitted.kind}{samples} by a field of '{fitted.recipe.field}', {parameters:,} parameters"]
    lines += [figures] if figures else []
    sound = all(bool(torch.isfinite(weight).all()) for weight in fitted.field.state_dict().values())
    lines.append(f"next: onefield compress {file}" if sound else "problem: not all numbers are finite; fit it again")
    return result | {"sound": sound}, lines


def _start(file: Path) -> Description:
    from onefield.training.fit_methods.learned_start import load_start

    start = load_start(file)
    result = {"kind": "start of fits", "field": start.recipe.field, "signals": start.signals}
    words = f"{file}: first weights for fits of '{start.recipe.field}', learned from {start.signals} signals"
    return result, [words, f"next: onefield fit SIGNAL --field {start.recipe.field} --methods {file}"]


def _decoder(file: Path) -> Description:
    from onefield.training.gradient_origin import load_gradient_origin

    decoder = load_gradient_origin(file)
    sides, code = " x ".join(map(str, reversed(decoder.shape))), len(decoder.mean)
    result = {"kind": "decoder", "field": decoder.recipe.field, "shape": list(decoder.shape), "code": code}
    words = f"{file}: decoder of signals of {sides} samples from codes of {code} numbers, by '{decoder.recipe.field}'"
    return result, [words, "next, in Python: load_gradient_origin of onefield.training.gradient_origin"]


def _generator(file: Path) -> Description:
    from onefield.training.weight_space.generator import load_field_generator

    start = load_field_generator(file).start
    words = f"{file}: generator of fields of '{start.recipe.field}', of kind {start.kind}, by their weights"
    result = {"kind": "generator of fields", "field": start.recipe.field, "signal": start.kind}
    return result, [words, f"next: onefield generate {file}"]


def _judge(file: Path) -> Description:
    from onefield.training.weight_space.judge import load_field_judge

    start = load_field_judge(file).start
    words = f"{file}: judge of fields of '{start.recipe.field}', of kind {start.kind}, by their weights"
    result = {"kind": "judge of fields", "field": start.recipe.field, "signal": start.kind}
    return result, [words, f"next: onefield predict {file} FIT"]
