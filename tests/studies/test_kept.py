"""Tables that belong together come back as they were kept, or one line says what is wrong."""

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest

from hsutils.errors import InputError
from hsutils.studies.kept import Kept


@dataclass(frozen=True)
class Clinic(Kept):
    """Two tables, the longer one compressed."""

    devices: pd.DataFrame
    logits: pd.DataFrame

    COMPRESSED: ClassVar = frozenset({"logits"})
    COLUMNS: ClassVar = {"logits": ("label",)}


@pytest.fixture
def kept() -> Clinic:
    rows = [[n % 2, n / 7] for n in range(500)]
    logits = pd.DataFrame(rows, columns=["label", "logit"])
    return Clinic(pd.DataFrame({"name": ["a", "b"]}), logits)


def test_tables_come_back_as_they_were_kept(kept, tmp_path):
    kept.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["devices.csv", "logits.csv.gz"]
    read = Clinic.read(tmp_path)
    for part in Clinic.parts():
        pd.testing.assert_frame_equal(getattr(read, part), getattr(kept, part))
    assert read.digest == kept.digest
    changed = Clinic(kept.devices, kept.logits.assign(logit=0.0))
    assert changed.digest != kept.digest


@pytest.mark.parametrize("cut", [0, 1, 9, 100], ids=["empty", "magic", "header", "half"])
def test_the_beginning_of_a_compressed_table_is_no_table(kept, tmp_path, cut):
    path = kept.save(tmp_path) / "logits.csv.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"logits\.csv\.gz is no table .*: gather"):
        Clinic.read(tmp_path)


def test_what_is_no_compressed_table_at_all_is_refused(kept, tmp_path):
    path = kept.save(tmp_path) / "logits.csv.gz"
    path.write_text("label,logit\n1,0.5\n")
    with pytest.raises(InputError, match=r"logits\.csv\.gz is no table"):
        Clinic.read(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"lacks logits\.csv\.gz: gather into it first"):
        Clinic.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b'"', b"\xff\xfe\x00"])
def test_a_broken_table_is_refused(kept, tmp_path, content):
    path = kept.save(tmp_path) / "devices.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"devices\.csv is no table"):
        Clinic.read(tmp_path)


def test_a_table_without_a_column_it_needs_is_refused(kept, tmp_path):
    Clinic(kept.devices, kept.logits[["logit"]]).save(tmp_path)
    with pytest.raises(InputError, match=r"logits\.csv\.gz lacks the columns label: gather"):
        Clinic.read(tmp_path)
