"""Strings, and tables that are filled with constants."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

TEXTS = np.array([[b" Hello, World! ", "Grüße".encode()], [b"", b"a  b\tc"]], object)


def record(case):
    raw = tf.raw_ops
    for encoding in ("", "utf-8"):
        case(f"StringLower/{encoding}", lambda x, e=encoding: raw.StringLower(input=x, encoding=e), TEXTS)
        case(f"StringUpper/{encoding}", lambda x, e=encoding: raw.StringUpper(input=x, encoding=e), TEXTS)
    case("StringStrip", lambda x: raw.StringStrip(input=x), TEXTS)
    case("StringJoin", lambda x, y: raw.StringJoin(inputs=[x, y, x], separator="-"), TEXTS, np.array(b"y", object))
    for unit in ("BYTE", "UTF8_CHAR"):
        case(f"StringLength/{unit}", lambda x, u=unit: raw.StringLength(input=x, unit=u), TEXTS)
        case(f"Substr/{unit}", lambda x, u=unit: raw.Substr(input=x[0], pos=[2, -4], len=[5, 3], unit=u), TEXTS)
    for separator in ("", " ", "l"):
        for most in (-1, 1) if separator else (-1,):
            case(
                f"StringSplitV2/{separator}/{most}",
                lambda x, s=separator, m=most: [*raw.StringSplitV2(input=x, sep=s, maxsplit=m)],
                TEXTS.ravel(),
            )
    for pattern in (r"[!\"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']", "l", r"\s+", "[A-Z]"):
        for everywhere in (True, False):
            case(
                f"StaticRegexReplace/{pattern}/{everywhere}",
                lambda x, p=pattern, g=everywhere: raw.StaticRegexReplace(
                    input=x, pattern=p, rewrite="_", replace_global=g
                ),
                TEXTS,
            )
    case("RegexReplace", lambda x: raw.RegexReplace(input=x, pattern="[a-e]", rewrite=""), TEXTS)
    numbers = np.array([b"1", b"-2", b"30"], object)
    for kind in (tf.float32, tf.float64, tf.int32, tf.int64):
        case(f"StringToNumber/{kind.name}", lambda x, k=kind: raw.StringToNumber(string_tensor=x, out_type=k), numbers)
    for axes in ([0], [1], [1, 0], [0, 1], []):
        for keep in (False, True):
            case(
                f"ReduceJoin/{axes}/{keep}",
                lambda x, a=axes, k=keep: raw.ReduceJoin(
                    inputs=x, reduction_indices=tf.constant(a, tf.int32), keep_dims=k, separator="+"
                ),
                TEXTS,
            )
    raws = np.array([b"\x00\x01\x02\x03", b"\x04\x00\x00\x7f"], object)
    for kind in (tf.uint8, tf.int16, tf.int32):
        case(f"DecodeRaw/{kind.name}", lambda x, k=kind: raw.DecodeRaw(bytes=x, out_type=k), raws)

    def looked_up(keys, values, kind_of_key, kind_of_value, default):
        def build(x):
            table = raw.HashTableV2(key_dtype=kind_of_key, value_dtype=kind_of_value, shared_name="table")
            filled = raw.LookupTableImportV2(table_handle=table, keys=tf.constant(keys), values=tf.constant(values))
            with tf.control_dependencies([filled]):
                found = raw.LookupTableFindV2(
                    table_handle=table, keys=x, default_value=tf.constant(default, kind_of_value)
                )
                return [found, raw.LookupTableSizeV2(table_handle=table) + tf.cast(0 * tf.size(found), tf.int64)]

        return build

    words = np.array([[b"b", b"none"], [b"a", b"c"]], object)
    case(
        "table/words to numbers",
        looked_up([b"a", b"b", b"c"], np.array([3, 5, 7], np.int64), tf.string, tf.int64, -1),
        words,
    )
    case("table/words to words", looked_up([b"a", b"b"], [b"x", b"y"], tf.string, tf.string, b"?"), words)
    case("table/words to reals", looked_up([b"a", b"b"], [0.5, 1.5], tf.string, tf.float32, 0.0), words)
    case(
        "table/numbers to numbers",
        looked_up(np.array([9, 4, 7], np.int64), np.array([1, 2, 3], np.int64), tf.int64, tf.int64, -5),
        np.array([[4, 7], [0, 9]], np.int64),
    )
    case(
        "table/numbers to words",
        looked_up(np.array([9, 4], np.int64), [b"x", b"y"], tf.int64, tf.string, b"?"),
        np.array([[4, 5], [9, 9]], np.int64),
    )
    case(
        "table/numbers to reals",
        looked_up(np.array([9, 4], np.int64), np.array([0.5, 2.5], np.float32), tf.int64, tf.float32, 9.0),
        np.array([4, 5, 9], np.int64),
    )
