"""Rows decoded by their features, compared with `datasets` where it can decode the same thing here.

Audio needs soundfile (the extra `media`) and soxr, and is skipped without them; `datasets` would need torchcodec.
"""

import io
import pickle
import sys
import warnings

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import Array2D, Audio, ClassLabel, Features, Image, LargeList, List, Pdf, Translation, Value, Video
from datasets.features import Json
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CorruptFileError, SetupError
from pipeline.streaming.decode import decode_row, needs_decoding, row_decoder

ORIENTATION = PIL.Image.Exif()
ORIENTATION[0x0112] = 6  # stored lying on its side


def picture(kind="PNG", mode="RGB", size=(5, 3), seed=0, **options):
    """An encoded image of noise, as Parquet gives it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels, "RGBA").convert("RGB" if mode == "P" else mode).convert(mode).save(
        buffer, kind, **options
    )
    return {"bytes": buffer.getvalue(), "path": f"{seed}.{kind.lower()}"}


def sound(channels=1, rate_hz=8000, samples=800, kind="WAV"):
    """An encoded tone of a second's tenth, each channel half as loud as the one before, and its samples."""
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(np.arange(samples) * 2 * np.pi * 440 / rate_hz) / 2
    played = np.stack([tone / 2**channel for channel in range(channels)], axis=1).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, played, rate_hz, format=kind, subtype="FLOAT" if kind == "WAV" else None)
    return {"bytes": buffer.getvalue(), "path": "tone.wav"}, played


def stored(features):
    """Features as they are in a file's metadata."""
    return Features(features).to_dict()


def comparable(value):
    """Pictures as what they show, so that two of them can be compared."""
    if isinstance(value, PIL.Image.Image):
        return (value.mode, value.size, value.tobytes())
    if isinstance(value, dict):
        return {name: comparable(one) for name, one in value.items()}
    return [comparable(one) for one in value] if isinstance(value, list) else value


def both(row, features):
    """A row decoded here and by `datasets`, from features in their JSON form."""
    return comparable(decode_row(row, features)), comparable(Features.from_dict(features).decode_example(row))


PICTURES = {
    "png": (Image(), picture()),
    "jpeg": (Image(), picture("JPEG")),
    "gray": (Image(mode="L"), picture("JPEG")),
    "palette": (Image(mode="RGB"), picture("PNG", "P")),
    "alpha": (Image(mode="RGB"), picture("PNG", "RGBA")),
    "same": (Image(mode="L"), picture("PNG", "L")),
    "tiff": (Image(), picture("TIFF", "F")),
    "turned": (Image(), picture("JPEG", exif=ORIENTATION)),
    "turned-gray": (Image(mode="L"), picture("JPEG", exif=ORIENTATION)),
    "null": (Image(), None),
    "no-path": (Image(), picture() | {"path": None}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_an_image_is_what_datasets_makes_of_it(name):
    """The same pixels in the same mode, upright, and None where there is none."""
    feature, value = PICTURES[name]
    ours, theirs = both({"image": value}, stored({"image": feature}))
    assert ours == theirs
    if name.startswith("turned"):
        assert ours["image"][1] == (3, 5)


NESTED = {
    "list": (List(Image()), [picture(seed=1), None, picture(seed=2)]),
    "empty": (List(Image()), []),
    "no list": (List(Image()), None),
    "fixed": (List(Image(mode="L"), length=2), [picture(seed=1), picture(seed=2)]),
    "large": (LargeList(Image()), [picture(seed=3)]),
    "plain": ([Image()], [picture(seed=4)]),
    "lists": (List(List(Image())), [[picture(seed=5)], [], None, [picture(seed=6), picture(seed=7)]]),
    "struct": ({"a": Value("int32"), "b": {"d": Image()}}, {"a": 1, "b": {"d": picture(seed=8)}}),
    "no struct": ({"a": Value("int32"), "b": {"d": Image()}}, {"a": 1, "b": None}),
    "structs": (
        List({"x": Value("string"), "y": [Image()]}),
        [{"x": "1", "y": [picture(seed=9)]}, {"x": "", "y": None}],
    ),
    "kind": ({"_type": Value("string"), "image": Image()}, {"_type": "cat", "image": picture(seed=10)}),
    "mixed": ({"raw": Image(decode=False), "seen": Image()}, {"raw": picture(seed=11), "seen": picture(seed=12)}),
    "json": (List(Json()), ['{"a": [1, null, "é"]}', None, "3"]),
}


@pytest.mark.parametrize("name", NESTED)
def test_media_is_decoded_at_any_depth(name):
    """In lists of every kind and in structs, with the nulls where they were, as `datasets` does it."""
    feature, value = NESTED[name]
    ours, theirs = both({"n": 1, "x": value}, stored({"n": Value("int8"), "x": feature}))
    assert ours == theirs
    assert needs_decoding(stored({"x": feature}))
    assert (ours["x"] != value) == (name not in ("empty", "no list", "no struct"))


def test_an_old_sequence_of_a_struct_is_a_struct_of_lists():
    """What `datasets` before version 4 wrote into files is read as it does."""
    features = {
        "x": {"_type": "Sequence", "feature": {"n": {"_type": "Value", "dtype": "int8"}, "i": {"_type": "Image"}}}
    }
    ours, theirs = both({"x": {"n": [1, 2], "i": [picture(), None]}}, features)
    assert ours == theirs
    assert ours["x"]["i"][0][0] == "RGB"


UNCHANGED = {
    "label": (ClassLabel(names=["cat", "dog"]), 1),
    "text": (Value("string"), "a"),
    "bytes": (Value("binary"), b"\x00"),
    "raw": (Image(decode=False), picture()),
    "raw sound": (Audio(decode=False), {"bytes": b"RIFF", "path": None}),
    "raw json": (Json(decode=False), "{}"),
    "raw list": (List(Image(decode=False)), [picture()]),
    "pair": (Translation(languages=["en", "fr"]), {"en": "a", "fr": "b"}),
    "matrix": (Array2D(shape=(1, 2), dtype="int8"), [[1, 2]]),
    "numbers": (List(Value("int64")), [1, 2]),
    "video": (Video(), {"bytes": b"x", "path": None}),
    "pdf": (Pdf(), {"bytes": b"x", "path": None}),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_is_no_media_is_the_same_object(name):
    """Nothing is decoded, copied or walked through where there is nothing to decode; the row is a new one."""
    feature, value = UNCHANGED[name]
    row = {"x": value, "image": picture()}
    features = stored({"x": feature})
    assert not needs_decoding(features)
    found = decode_row(row, features | stored({"image": Image()}))
    assert found["x"] is value
    assert list(found) == list(row)
    assert row == {"x": value, "image": picture()}


@pytest.mark.parametrize("features", [None, {}, {"x": None}, {"x": []}, {"x": "Image"}, {"x": {"_type": "List"}}])
def test_features_that_say_nothing_decode_nothing(features):
    """Features come from files of others: what is no feature leaves its column alone."""
    assert not needs_decoding(features)
    assert decode_row({"x": 1}, features or {}) == {"x": 1}


def test_columns_that_were_not_read_are_not_missed():
    """A projection leaves columns and fields out, and its rows may have columns without a feature."""
    features = stored({"image": Image(), "s": {"a": Image(), "b": Value("int8")}})
    assert decode_row({"s": {"b": 1}, "_file": "x"}, features) == {"s": {"b": 1}, "_file": "x"}
    assert decode_row({"image": {"path": "a.png"}}, features) == {"image": {"path": "a.png"}}
    assert decode_row({"image": {"path": None}}, features) == {"image": {"path": None}}


@pytest.mark.parametrize("feature", [Image(), Audio()], ids=["image", "audio"])
def test_a_path_without_bytes_stays(feature):
    """Nothing is fetched while decoding; a value with neither is an error, as it is in `datasets`."""
    features = stored({"media": feature})
    assert decode_row({"media": {"bytes": None, "path": "a.png"}}, features) == {
        "media": {"bytes": None, "path": "a.png"}
    }
    assert decode_row({"media": "a.png"}, features) == {"media": "a.png"}
    with pytest.raises(CorruptFileError, match="column 'media' has a value with neither bytes nor path"):
        decode_row({"media": {"bytes": None, "path": None}}, features)


def test_a_binary_column_can_be_an_image():
    """Bytes without a struct around them are what `datasets` casts to an image; decoding twice is decoding once."""
    features = stored({"image": Image()})
    once = decode_row({"image": picture()["bytes"]}, features)
    assert comparable(once) == comparable(decode_row({"image": picture()}, features))
    assert decode_row(once, features)["image"] is once["image"]


def test_rows_from_parquet_types_are_decoded():
    """What Arrow gives for the feature's own storage type is what the decoder takes."""
    schema = Features({"image": Image(), "j": Json()}).arrow_schema
    table = pa.table({"image": [picture(), None], "j": ["[1]", None]}, schema=schema)
    decode = row_decoder(stored({"image": Image(), "j": Json()}))
    first, second = map(decode, table.to_pylist())
    assert (first["image"].size, first["j"]) == ((5, 3), [1])
    assert second == {"image": None, "j": None}


def test_a_decoder_can_be_pickled():
    """It goes to a worker that is spawned."""
    decode = pickle.loads(pickle.dumps(row_decoder(stored({"x": List({"i": Image(mode="L")})}))))
    assert decode({"x": [{"i": picture()}]})["x"][0]["i"].mode == "L"


@pytest.mark.parametrize(
    ("feature", "content", "message"),
    [
        (
            Image(),
            b"no image",
            r"column 'x\.y' has 8 bytes that cannot be decoded as an image: cannot identify image file;",
        ),
        (Image(), b"", "has 0 bytes that cannot be decoded as an image: cannot identify image file;"),
        (Image(), picture(size=(64, 64))["bytes"][:900], "cannot be decoded as an image: .*truncated"),
        (Image(), picture("JPEG", size=(64, 64))["bytes"][:900], "cannot be decoded as an image: .*truncated"),
        (Image(mode="none"), picture()["bytes"], "cannot be decoded as an image of mode none: .*mode"),
    ],
)
def test_bytes_that_are_no_image_name_their_column(feature, content, message):
    """One line, which says where, how many bytes, why, and what to do."""
    features = stored({"x": [{"y": feature}]})
    with pytest.raises(CorruptFileError, match=message) as caught:
        decode_row({"x": [{"y": {"bytes": content, "path": None}}]}, features)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; mend the file, or read it with decode=False")


@given(data=st.data())
def test_broken_bytes_are_a_picture_or_a_clear_error(data):
    """Whatever happens to an image's bytes, no other error comes out of the decoder."""
    content = bytearray(data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]).map(picture))["bytes"])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    features = stored({"image": Image()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damage that it can live with
        try:
            found = decode_row({"image": {"bytes": bytes(content), "path": None}}, features)
        except CorruptFileError:
            return
    assert isinstance(found["image"], PIL.Image.Image)


def test_a_warning_about_an_image_stays_a_warning():
    """What Pillow warns of is not called corrupt, not even where the user's filter makes errors of warnings."""
    buffer = io.BytesIO()
    PIL.Image.new("P", (2, 2)).save(buffer, "PNG", transparency=b"\x80")
    row, features = {"image": buffer.getvalue()}, stored({"image": Image(mode="RGB")})
    with pytest.raises(UserWarning, match="Palette images with Transparency"):
        decode_row(row, features)
    with pytest.warns(UserWarning, match="Palette images with Transparency"):
        assert decode_row(row, features)["image"].mode == "RGB"


def test_text_that_is_no_json_names_its_column():
    """As for media."""
    with pytest.raises(CorruptFileError, match="column 'j' has 1 bytes that cannot be decoded as JSON"):
        decode_row({"j": "{"}, stored({"j": Json()}))


@pytest.mark.parametrize(
    ("feature", "module", "name"), [(Image(), "PIL.Image", "Pillow"), (Audio(), "soundfile", "soundfile")]
)
def test_a_missing_library_says_what_to_install(monkeypatch, feature, module, name):
    """It names the column, the extra and the way around, and is raised for the first value, not for features or nulls."""
    monkeypatch.setitem(sys.modules, module, None)
    decode = row_decoder(stored({"media": feature}))
    assert decode({"media": None}) == {"media": None}
    message = f"^column 'media' needs {name} to be decoded; pip install 'xet-pipeline\\[media\\]', or decode=False$"
    with pytest.raises(SetupError, match=message):
        decode({"media": picture()})


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_audio_is_the_mean_of_its_channels(kind, channels):
    """Float32 samples of one dimension, the rate and the path, for one channel and for two, in every usual format."""
    value, played = sound(channels, rate_hz=16000, samples=4096, kind=kind)
    found = decode_row({"audio": value}, stored({"audio": Audio()}))["audio"]
    assert list(found) == ["array", "sampling_rate", "path"]
    assert (found["array"].dtype, found["array"].shape) == (np.float32, (4096,))
    assert (found["sampling_rate"], found["path"]) == (16000, "tone.wav")
    lossy = kind in ("OGG", "MP3")
    middle = slice(1500, 2500) if lossy else slice(None)  # a codec's first and last block are its own
    assert np.allclose(found["array"][middle], played.mean(axis=1)[middle], atol=0.05 if lossy else 1e-4)


def test_audio_has_the_rate_that_its_feature_asks_for():
    """The same rate is left alone; another one is resampled to, and is the same tone."""
    pytest.importorskip("soxr")
    value, played = sound(2, rate_hz=8000)
    same = decode_row({"audio": value}, stored({"audio": Audio(sampling_rate=8000)}))["audio"]
    assert np.array_equal(same["array"], played.mean(axis=1))
    found = decode_row({"audio": value}, stored({"audio": Audio(sampling_rate=16000)}))["audio"]
    assert (found["sampling_rate"], found["array"].dtype, found["array"].shape) == (16000, np.float32, (1600,))
    assert np.allclose(found["array"][::2][50:-50], played.mean(axis=1)[50:-50], atol=0.01)


def test_another_rate_without_a_resampler_is_an_error(monkeypatch):
    """Samples at a rate that was not asked for are never given; the same rate needs no resampler."""
    value, _ = sound(rate_hz=8000)
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert decode_row({"audio": value}, stored({"audio": Audio(sampling_rate=8000)}))["audio"]["sampling_rate"] == 8000
    with pytest.raises(SetupError, match="column 'audio' has audio of 8000 Hz and its feature asks for 16000 Hz"):
        decode_row({"audio": value}, stored({"audio": Audio(sampling_rate=16000)}))


@pytest.mark.parametrize("content", [b"", b"no sound at all", b"RIFF" + bytes(40)])
def test_bytes_that_are_no_audio_name_their_column(content):
    """As for images; a path or null beside it does not matter."""
    pytest.importorskip("soundfile")
    with pytest.raises(CorruptFileError, match=r"column 'audio' has \d+ bytes that cannot be decoded as audio: Error"):
        decode_row({"audio": {"bytes": content, "path": None}}, stored({"audio": Audio()}))


def test_audio_is_decoded_at_any_depth():
    """In lists and structs, with nulls, beside what stays as it is."""
    value, played = sound()
    features = stored({"x": List({"a": Audio(), "raw": Audio(decode=False)}), "n": ClassLabel(names=["a", "b"])})
    found = decode_row({"x": [{"a": value, "raw": value}, {"a": None, "raw": None}, None], "n": 1}, features)
    assert np.array_equal(found["x"][0]["a"]["array"], played[:, 0])
    assert found["x"][0]["raw"] is value
    assert found["x"][1:] == [{"a": None, "raw": None}, None]
    assert found["n"] == 1
