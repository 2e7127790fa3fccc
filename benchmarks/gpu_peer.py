"""Build the CUDA kernels of mamba-ssm and causal-conv1d from their source archives, for comparisons on one machine.

``python -m benchmarks.gpu_peer FOLDER ARCHIVE...``: unpacks each ``.tar.gz`` into FOLDER, compiles the extension there
for the GPU at hand alone (the packages' own setups compile for nine kinds), and leaves in FOLDER what PYTHONPATH
needs. Needs nvcc, ninja and a PyTorch for CUDA. The archives are those of the package index: nothing is fetched here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from pathlib import Path

KERNELS = {
    "mamba_ssm": ("selective_scan_cuda", "csrc/selective_scan"),
    "causal_conv1d": ("causal_conv1d_cuda", "csrc"),
}
"""Package: its extension, and the folder of its sources."""

FLAGS = [
    "-O3", "-std=c++17", "--use_fast_math", "--expt-relaxed-constexpr", "--expt-extended-lambda",
    *(f"-U__CUDA_NO_{kind}__" for kind in (
        "HALF_OPERATORS", "HALF_CONVERSIONS", "BFLOAT16_OPERATORS", "BFLOAT16_CONVERSIONS", "BFLOAT162_OPERATORS",
        "BFLOAT162_CONVERSIONS",
    )),
]  # fmt: skip


def unpack(archive: Path, folder: Path) -> tuple[str, Path]:
    """The package's name and its sources, unpacked into `folder`."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
        top = folder / packed.getnames()[0].split("/")[0]
    name = next((name for name in KERNELS if (top / name).is_dir()), None)
    if name is None:
        raise SystemExit(f"{archive.name} is none of {', '.join(KERNELS)}.")
    return name, top


def compile_extension(name: str, sources: Path, folder: Path) -> None:
    """Compile one extension and put it, with the package's Python files, into `folder`."""
    from torch.utils.cpp_extension import load

    extension, where = KERNELS[name]
    files = sorted(path for path in (sources / where).iterdir() if path.suffix in {".cpp", ".cu"})
    build = folder / f"build-{name}"
    build.mkdir(parents=True, exist_ok=True)
    load(
        extension,
        [str(path) for path in files],
        extra_cflags=["-O3", "-std=c++17"],
        extra_cuda_cflags=FLAGS,
        build_directory=str(build),
        is_python_module=False,
    )
    (build / f"{extension}.so").replace(folder / f"{extension}.so")
    (sources / name).rename(folder / name)
    if name == "mamba_ssm":  # its own imports language models, which need packages that the scan does not
        (folder / name / "__init__.py").write_text("")


def main(argv: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE")
    options.add_argument("--only", help="compile this one package in this process")
    arguments = options.parse_args(argv)
    folder = arguments.folder.resolve()
    if arguments.only is None:  # side by side: each has files that take minutes
        command = [sys.executable, "-m", "benchmarks.gpu_peer", str(folder), *map(str, arguments.archives)]
        running = [subprocess.Popen([*command, "--only", name]) for name in KERNELS]
        raise SystemExit(max(process.wait() for process in running))
    for archive in arguments.archives:
        if archive.name.startswith(arguments.only):
            name, sources = unpack(archive, folder / f"source-{arguments.only}")
            compile_extension(name, sources, folder)
            print(f"{name} built in {folder}")


if __name__ == "__main__":
    main()
