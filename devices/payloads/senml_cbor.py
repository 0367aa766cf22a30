"""The codecs `senml+cbor`, Sensor Measurement Lists in CBOR (RFC 8428, section 6), and `senml`, in either form."""

import base64
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Final, cast

import cbor2

from devices.errors import QuarantineReason, Rejected
from devices.payloads.senml import SenmlCodec
from devices.payloads.storable import kind

_LABELS: Final[Mapping[object, str]] = {
    **dict(zip(range(-1, -7, -1), ("bver", "bn", "bt", "bu", "bv", "bs"), strict=True)),
    **dict(enumerate(("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"))),
}
_DEEPEST: Final = 8
_DECIMAL_FRACTION: Final = 4
_BUILT_IN_TAGS: Final = (0, 1, 2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
"""Tags that the library would act on: bignums, references, regular expressions, … None has a place in a pack."""


class SenmlCborCodec(SenmlCodec):
    """Decodes SenML in CBOR."""

    name: str = "senml+cbor"

    def parse(self, payload: bytes) -> Sequence[object]:
        """The records, their labels as JSON has them. Raises Rejected."""
        source = BytesIO(payload)
        try:
            decoder = cbor2.CBORDecoder(
                source, tag_hook=_refuse_tag, semantic_decoders=_DECODERS, max_depth=_DEEPEST, read_size=1
            )
            pack: object = decoder.decode()
        except (cbor2.CBORDecodeError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
            raise Rejected(QuarantineReason.MALFORMED, f"not CBOR of a SenML pack: {_words(error)}") from error
        if source.tell() != len(payload):
            raise Rejected(QuarantineReason.MALFORMED, "more bytes after the end of the pack")
        if not isinstance(pack, list):
            raise Rejected(QuarantineReason.MALFORMED, f"{kind(pack)} where a pack is expected, which is an array")
        return [_record(record) for record in cast("list[object]", pack)]


class SenmlAnyCodec(SenmlCborCodec):
    """Decodes SenML in JSON or CBOR: the first byte tells which."""

    name: str = "senml"

    def parse(self, payload: bytes) -> Sequence[object]:
        """The records, their labels as JSON has them. Raises Rejected."""
        is_json = payload.lstrip()[:1] in (b"[", b"{")
        return SenmlCodec.parse(self, payload) if is_json else super().parse(payload)


def _words(error: Exception) -> str:
    return "".join(character for character in str(error) if character.isprintable())[:100] or type(error).__name__


def _refuse_tag(_tag: object, _immutable: object) -> object:
    raise Rejected(QuarantineReason.MALFORMED, "a tag that has no place in SenML")


def _fraction(value: object, _immutable: object) -> Decimal:
    """A decimal fraction, a mantissa and a power of ten: the one tag that section 6 allows."""
    match value:
        case [int(exponent), int(mantissa)] if abs(exponent) <= 400 and abs(mantissa) < 1 << 64:  # noqa: PLR2004 - beyond every float
            return Decimal(mantissa).scaleb(exponent)
        case _:
            raise Rejected(QuarantineReason.NOT_A_NUMBER, "a decimal fraction that is no finite number")


_DECODERS: Final[Mapping[int, Callable[[object, object], object]]] = {
    **dict.fromkeys(_BUILT_IN_TAGS, _refuse_tag),
    _DECIMAL_FRACTION: _fraction,
}


def _record(record: object) -> object:
    if not isinstance(record, dict):
        return record
    fields: dict[str, object] = {}
    for label, value in cast("dict[object, object]", record).items():
        name = label if isinstance(label, str) else None if isinstance(label, bool) else _LABELS.get(label)
        if name is not None:  # unknown numbers are extensions, which may be let pass (section 4.4)
            fields[name] = base64.urlsafe_b64encode(value).decode() if isinstance(value, bytes) else value
    return fields
