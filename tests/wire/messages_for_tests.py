"""One example of each message: the test vectors of docs/protocol-vectors.json are made of these."""

from neuropod_worker.wire import messages as m

HEAD = (7, 1, 42, 0, (3, 4), (5,))
TIMES = (1_000_000_001, 1_000_000_002, 1_000_000_300, 1_000_000_301)
TENSORS = (
    m.Tensor("image", "uint8", (2, 3), (m.IN_ARENA, 64, 6)),
    m.Tensor("größe", "string", (), (m.IN_ARENA, 128, 20)),
)

EXAMPLES = (
    m.Hello(m.PROTOCOL_VERSION, 7, "semaphore", "signal", 2**36, "glibc 2.36 x86_64", "adaptive"),
    m.Welcome(m.PROTOCOL_VERSION, 7, 4711, "3.6.15", "1.16.6"),
    m.Refused(m.PROTOCOL_VERSION, "another libc"),
    m.Load(*HEAD, "/models/detector", 0, True, True),
    m.Load(*HEAD, "/models/detector", None, False, False),
    m.Infer(*HEAD, 9, TENSORS, None),
    m.Infer(*HEAD, 9, None, ("boxes",)),
    m.Cancel(*HEAD),
    m.Unload(*HEAD),
    m.Shutdown(*HEAD),
    m.Loaded(*HEAD, *TIMES, 12_500, "1.1.0"),
    m.Result(*HEAD, *TIMES, 2, TENSORS),
    m.Result(*HEAD, *TIMES, 2, None),
    m.Failed(*HEAD, *TIMES, m.MODEL, "ValueError", "no boxes", "Traceback ...", None),
    m.Unloaded(*HEAD, *TIMES),
    m.Cancelled(*HEAD, *TIMES),
    m.File(m.PROTOCOL_VERSION, 3, 2**36, True),
    m.Infer(*HEAD, 9, (m.Tensor("frame", "uint8", (2, 3), (m.IN_FILE, 4096, 6, 3)),), None),
    m.Announce(*HEAD, (m.Tensor("frame", "uint8", (2, 3), (m.IN_FILE, 4096, 6, 3)),)),
    m.CloseFile(*HEAD, 3),
    m.Trim(*HEAD),
)
