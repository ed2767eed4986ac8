"""Content credentials: what is said of a picture, whether it is believed, and that nothing else changes."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from PIL import Image

from studio import image
from studio.credentials import COMPOSITE, Claim, Credentials
from studio.errors import StudioError
from tests.fakes import gradient

TEXTS = {"parameters": "a heron\nNegative prompt: \nSteps: 4, Sampler: Euler, Seed: 1", "pochade": '{"version": 1}'}
CLAIM = Claim("Mini", "0123456789", "openrail, commercial use has conditions")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def picture() -> bytes:
    return image.png(image.from_rgb(96, 64, gradient(7, 96, 64)), TEXTS)


def test_pixels_and_texts_stay_as_they_are(ours: Credentials, picture: bytes) -> None:
    signed = ours.sign(picture, CLAIM)
    assert image.png_texts(signed) == image.png_texts(picture)
    assert image.decode(signed, 10**6).tobytes() == gradient(7, 96, 64)
    assert len(signed) - len(picture) < 5000


def test_what_is_said_can_be_read_and_holds_no_prompt(ours: Credentials, picture: bytes) -> None:
    signed = ours.sign(picture, CLAIM)
    found = ours.read(signed)
    assert found is not None
    assert (found.state, found.source, found.earlier) == ("ours", "trainedAlgorithmicMedia", 0)
    assert (found.model, found.licence) == (CLAIM.model, CLAIM.licence)
    assert found.program.startswith("Pochade ")
    assert found.problems == ()
    assert signed.count(b"heron") == picture.count(b"heron"), "only the text chunk names it"


def test_another_installation_sees_an_intact_signature_of_somebody_unknown(
    ours: Credentials, picture: bytes, tmp_path: Path
) -> None:
    found = Credentials(tmp_path).read(ours.sign(picture, CLAIM))
    assert found is not None
    assert (found.state, found.problems) == ("unknown", ())


def test_one_changed_byte_makes_it_invalid(ours: Credentials, picture: bytes) -> None:
    signed = bytearray(ours.sign(picture, CLAIM))
    signed[-20] ^= 1
    found = ours.read(bytes(signed))
    assert found is not None
    assert found.state == "invalid"
    assert "assertion.dataHash.mismatch" in found.problems


def test_a_picture_drawn_over_another_is_a_composite_and_keeps_what_the_first_one_said(
    ours: Credentials, picture: bytes, tmp_path: Path
) -> None:
    source = Credentials(tmp_path).sign(picture, Claim("Somebody else's"))
    found = ours.read(ours.sign(picture, Claim("Mini", composite=True, source=source)))
    assert found is not None
    assert (found.state, found.model, found.earlier) == ("ours", "Mini", 1)
    assert COMPOSITE.endswith(found.source)


@pytest.mark.parametrize("source", [b"", b"\x89PNG\r\n\x1a\nnonsense", b"RIFF"], ids=["none", "torn", "short"])
def test_a_source_that_cannot_be_read_does_not_prevent_signing(
    ours: Credentials, picture: bytes, source: bytes
) -> None:
    found = ours.read(ours.sign(picture, Claim("Mini", composite=True, source=source)))
    assert found is not None
    assert (found.state, found.source) == ("ours", "compositeWithTrainedAlgorithmicMedia")


def test_saving_it_in_another_program_takes_the_credentials_away(ours: Credentials, picture: bytes) -> None:
    again = io.BytesIO()
    Image.open(io.BytesIO(ours.sign(picture, CLAIM))).save(again, "PNG")
    assert ours.read(again.getvalue()) is None
    assert ours.read(picture) is None


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"])
def test_whatever_is_given_is_read_without_a_fault(ours: Credentials, data: bytes) -> None:
    found = ours.read(data)
    assert found is None or found.state == "invalid"


def test_the_key_is_for_this_user_alone_and_lasts(picture: bytes, tmp_path: Path) -> None:
    signed = Credentials(tmp_path).sign(picture, CLAIM)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    again = Credentials(tmp_path).read(signed)
    assert again is not None
    assert again.state == "ours"


def test_a_damaged_key_is_told_in_a_sentence_and_reading_goes_on(
    ours: Credentials, picture: bytes, tmp_path: Path
) -> None:
    Credentials(tmp_path).sign(picture, CLAIM)
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(StudioError, match="cannot be read or made; move the folder away"):
        Credentials(tmp_path).sign(picture, CLAIM)
    found = Credentials(tmp_path).read(ours.sign(picture, CLAIM))
    assert found is not None
    assert found.state == "unknown"
