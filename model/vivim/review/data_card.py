"""What a released data set says of itself: a data card for people, Croissant JSON-LD for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import vivim
from vivim.review.agreement import Agreement, pooled
from vivim.review.tables import Table, agreement_table

PARTS = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Parts of a release, and how much of the patients or clips each gets."""
STUDY_SETTINGS = "vivim-study.json"
"""The study's own settings, in its folder: the salt, and what the data card says."""
SUMS, INDEX, CARD, CROISSANT = "SHA256SUMS", "index.csv", "README.md", "croissant.json"
COLUMNS = ("part", "clip", "frame", "image", "mask", "lesion", "status")
"""Columns of the index."""
TERMS = (
    "citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in TERMS.split()},
}
"""Of Croissant 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html."""


@dataclass(frozen=True)
class ReleasedClip:
    """A clip of a release."""

    name: str
    part: str
    patient: str
    """Digest of the patient, empty where the split does not know."""
    reader: str
    frames: int
    lesion_frames: int
    corrected: int
    """Frames that a person drew or changed. The others were accepted as a model proposed them."""
    left_out: dict[str, int]
    """Frames left out, by the reason."""
    proposed_by: tuple[str, ...]
    """Versions of the models that proposed masks to any reader, and consensuses of readers."""
    agreement: Agreement | None


@dataclass(frozen=True)
class Contents:
    """Everything that a release holds, and the settings of its study."""

    clips: tuple[ReleasedClip, ...]
    classes: tuple[str, ...]
    """Names of the classes 1 and up."""
    not_approved: int
    """Videos that were left out because no session is approved."""
    nothing_to_release: int
    """Videos that were left out because no frame of the approved session counts."""
    formats: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def agreement(self) -> Agreement | None:
        """Agreement of the readers on all clips, None where no clip has several."""
        found = [clip.agreement for clip in self.clips if clip.agreement is not None]
        return pooled(found) if found else None

    def counts(self, *parts: str) -> dict[str, int]:
        """Patients, clips and frames of some parts. 0 patients where the split does not know them."""
        clips = [clip for clip in self.clips if clip.part in parts]
        return {
            "patients": len({clip.patient for clip in clips} - {""}),
            "clips": len(clips),
            "frames": sum(clip.frames for clip in clips),
            "lesion_frames": sum(clip.lesion_frames for clip in clips),
        }


def counts_table(contents: Contents) -> Table:
    """Patients, clips and frames of each part, and of all."""
    parts = [part for part in PARTS if contents.counts(part)["clips"]]
    rows = [[part, *contents.counts(part).values()] for part in parts]
    return Table(
        "Parts",
        ["part", "patients", "clips", "frames", "with a lesion"],
        [*rows, ["all", *contents.counts(*parts).values()]],
    )


def data_card(contents: Contents) -> str:
    """The data card, in Markdown."""
    clips, said = contents.clips, contents.settings
    known = all(clip.patient for clip in clips)
    reasons = clips[0].left_out
    left_out = ", ".join(f"{sum(clip.left_out[why] for clip in clips)} {why}" for why in reasons)
    readers = sorted({clip.reader for clip in clips})
    models = sorted({model for clip in clips for model in clip.proposed_by})
    frames, corrected = sum(clip.frames for clip in clips), sum(clip.corrected for clip in clips)
    several = len(contents.classes) > 1
    masks = "each pixel holds the number of its class" if several else "0 is background, 255 is lesion"
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(contents.classes, start=1))
    lines = [
        f"# {said['title'] or 'Lesion masks in medical video'}",
        said["description"] or _missing("description"),
        f"**Licence:** {said['licence'] or _missing('licence')}",
        f"**Creators:** {', '.join(said['creators']) or _missing('creators')}",
        *(
            f"**{key.capitalize()}:** {said[key]}"
            for key in ("version", "date", "url", "citation")
            if said[key]
        ),
        "## What is in it",
        counts_table(contents).markdown(),
        f"Classes: {classes}.",
        f"`PART/CLIP/frames` holds pictures, `PART/CLIP/masks` masks of equal names: {masks}. `{INDEX}` lists all of "
        f"them. `{SUMS}` has the SHA-256 of every file; `sha256sum --check {SUMS}` compares.",
        *(
            [f"`formats/CLIP` holds the same masks as {', '.join(contents.formats)}."]
            if contents.formats
            else []
        ),
        "Clips were split by patient. No patient is in two parts."
        if known
        else "Clips were split one by one. A patient may be in two parts.",
        "## How it was made",
        f"Masks of {', '.join(readers)}, approved. {corrected} of {frames} frames were "
        "drawn or changed by a person, the others accepted as proposed.",
        f"Masks were proposed by: {', '.join(models) or 'nobody'}. Made with vivim {vivim.__version__}.",
        f"Left out: {contents.not_approved} videos that are not approved, {contents.nothing_to_release} without a "
        f"frame to release. Frames left out of the videos released: {left_out}.",
        "## Agreement of readers",
        *_agreement(contents.agreement),
        "## Privacy",
        "Names of files and patients are replaced by digests with a secret salt. Names burnt into pictures are not "
        "removed: look at the pictures before you publish.",
        "For research, not for diagnosis.",
    ]
    return "\n\n".join(lines) + "\n"


def _missing(key: str) -> str:
    return f"_not said yet: write `{key}` into {STUDY_SETTINGS} of the study and release again_"


def _agreement(found: Agreement | None) -> list[str]:
    if found is None:
        return ["No clip has several readers."]
    table = agreement_table(found)
    return [table.markdown(), table.note]


def croissant(contents: Contents, index_sha256: str, index_bytes: int) -> str:
    """Croissant JSON-LD: the index as records, pictures and masks as sets of files."""
    said = contents.settings
    about = {
        "description": said["description"] or "Lesion masks in medical video.",
        "license": said["licence"],
        "url": said["url"],
        "version": said["version"],
        "datePublished": said["date"],
        "citeAs": said["citation"],
        "creator": [{"@type": "sc:Person", "name": name} for name in said["creators"]],
    }
    values = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": said["title"] or "lesion-masks",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **{key: value for key, value in about.items() if value},
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": INDEX,
                "name": INDEX,
                "contentUrl": INDEX,
                "contentSize": f"{index_bytes} B",
                "encodingFormat": "text/csv",
                "sha256": index_sha256,
            },
            _files("images", "frames"),
            _files("masks", "masks"),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "frames",
                "name": "frames",
                "description": "One record for each frame.",
                "field": [_field(column) for column in COLUMNS],
            }
        ],
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _files(name: str, folder: str) -> dict[str, Any]:
    patterns = [f"{part}/*/{folder}/*.png" for part in PARTS]
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": "image/png",
        "includes": patterns,
    }


def _field(column: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"frames/{column}",
        "name": column,
        "dataType": "sc:Integer" if column in ("frame", "lesion") else "sc:Text",
        "source": {"fileObject": {"@id": INDEX}, "extract": {"column": column}},
    }
