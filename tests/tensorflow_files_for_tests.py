"""TensorFlow's files with nothing but names in them, written without TensorFlow."""


def field(number, content):
    """A length-delimited field of a protocol buffer."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def frozen_graph(*nodes):
    """A serialized GraphDef: node = 1 {name = 1}."""
    return b"".join(field(1, field(1, name.encode())) for name in nodes)


def saved_model(folder, inputs, outputs, key="serving_default", tags=("serve",)):
    """A SavedModel's folder: meta_graphs = 2 {meta_info_def = 1 {tags = 4}, signature_def = 5 {inputs = 1, ...}}."""
    sides = [(1, name) for name in inputs] + [(2, name) for name in outputs]
    signature = b"".join(field(side, field(1, name.encode()) + field(2, b"")) for side, name in sides)
    info = field(1, b"".join(field(4, tag.encode()) for tag in tags))
    meta_graph = info + field(5, field(1, key.encode()) + field(2, signature))
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + field(2, meta_graph))
    return str(folder)
