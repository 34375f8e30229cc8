"""Which memory cgroup a process is in, from what /proc says; and what the death of its process then is."""

import pytest

from neuropod_ope.supervisor.diagnosis import Death, worker_died
from neuropod_ope.supervisor.memory_group import memory_group

GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """Writes /proc for process 7, and files of a cgroup under ``tmp_path``."""

    def write(cgroup, mountinfo, files=()):
        (tmp_path / "proc" / "7").mkdir(parents=True)
        (tmp_path / "proc" / "self").mkdir()
        (tmp_path / "proc/7/cgroup").write_text(cgroup)
        (tmp_path / "proc/self/mountinfo").write_text(mountinfo.replace("@", str(tmp_path)))
        for name, text in dict(files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return memory_group(7, tmp_path / "proc")

    return write


V1 = "31 23 0:28 / @ rw - tmpfs tmpfs rw\n35 31 0:32 / @/memory rw - cgroup cgroup rw,memory\n"
V2 = "41 31 0:38 / @/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"


def test_version_1_counts_in_the_processs_own_group(machine):
    group = machine(
        "8:pids:/\n4:memory:/a/b\n0::/\n",
        V1 + V2,
        {
            "memory/a/b/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
            "memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/a/memory.limit_in_bytes": f"{2 * GIB}\n",
        },
    )
    assert (group.kills(), group.limit()) == (3, 2 * GIB)


def test_version_2_counts_where_the_controller_is_on(machine):
    group = machine(
        "0::/app/inner\n",
        V2,
        {
            "unified/app/memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\n",
            "unified/app/memory.max": f"{GIB}\n",
            "unified/memory.max": "max\n",
            "unified/app/inner/cgroup.procs": "7\n",
        },
    )
    assert (group.kills(), group.limit()) == (1, GIB)


def test_a_mount_that_shows_only_a_part_is_understood(machine):
    mounted = "41 31 0:38 /docker/4711 @/unified rw - cgroup2 cgroup2 rw\n"
    files = {"unified/app/memory.events": "oom_kill 4\n"}
    assert machine("0::/docker/4711/app\n", mounted, files).kills() == 4


@pytest.mark.parametrize("mountinfo", ["", V1], ids=["no cgroups at all", "only the other version"])
def test_where_there_is_no_memory_group_nothing_is_known(machine, mountinfo):
    assert machine("0::/\n", mountinfo) is None


def test_a_group_that_counts_nothing_says_so(machine):
    group = machine("0::/\n", V2)
    assert (group.kills(), group.limit()) == (None, None)


@pytest.mark.parametrize(
    ("out_of_memory", "limit", "says"),
    [
        (True, 2 * GIB, "was killed by the kernel (SIGKILL), because memory ran out (the limit is 2048 MiB), while"),
        (True, None, "because memory ran out (the limit is the machine's), while"),
        (False, 2 * GIB, "was killed by SIGKILL: somebody killed it while"),
        (None, None, "somebody killed it, most often the kernel when memory ran out while"),
    ],
)
def test_a_kill_is_put_down_to_memory_only_where_the_kernel_says_so(out_of_memory, limit, says):
    death = Death(7, -9, (), None, out_of_memory, limit)
    error = worker_died(death, "ranker", 3, "it ran a call")
    assert says in str(error)
    assert error.out_of_memory is out_of_memory
