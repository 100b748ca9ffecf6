"""What each request is, and whose: a pure function of the job and the request's number, so that the same job asks for
the same, over however many processes.

Sizes come from a deck: for each mix up to 64 pairs of a prompt's and a completion's, spread evenly over what is asked
for, and made before the load begins. So drawing one costs no more than looking it up, and memory is bounded.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from zlib import crc32

import msgspec

from bench.failure import BenchError
from bench.load.connection import Plan
from bench.load.identities import Caller, caller_of
from bench.load.job import Job, Mix
from bench.load.replay import Recorded
from bench.load.retold import fitted
from bench.load.workload import Workload, embeddings, plain, prompt_of, stream

_DECK = 64
_DECK_BYTES = 64 << 20
_TOKEN = 4  # bytes of a prompt
_PROMPT_AT_MOST, _COMPLETION_AT_MOST = 1 << 18, 1 << 14
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ by the golden ratio: its multiples fill the range as evenly as can be


def bits(seed: int, number: int) -> int:
    """64 random bits for a number: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators)."""
    z = (seed + (number + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def unit(random: int) -> float:
    """From 0 to 1, and less than that."""
    return (random >> 11) / 2**53


def _even(number: int) -> float:
    """From 0 to 1, spread evenly however many are asked for."""
    return unit((number * _GOLDEN) & _MASK)


class Choice:
    """One of several by weight. Raises `BenchError` where no weight is above 0."""

    def __init__(self, weights: Sequence[float], what: str) -> None:
        if not weights or min(weights) < 0 or not sum(weights):
            raise BenchError(f"{what}: none can be chosen; give weights above 0")
        total = sum(weights)
        self._ends = [end / total for end in accumulate(weights)]

    def at(self, place: float) -> int:
        """Of a place from 0 to 1."""
        return min(bisect_right(self._ends, place), len(self._ends) - 1)


class Kind:
    """A mix, ready to be asked for: its deck, and who may ask."""

    def __init__(self, job: Job, index: int, host: str, callers: Sequence[Caller], weights: Sequence[float]) -> None:
        self.mix = mix = job.mixes[index]
        self.index = index
        wanted = [place for place, one in enumerate(callers) if not mix.identities or one.client in mix.identities]
        missing = set(mix.identities) - {one.client for one in callers}
        if missing:
            raise BenchError(f"mixes[{index}].identities: '{min(missing)}' is no identity; name one of the job's")
        self.callers = [callers[place] for place in wanted]
        self.choice = Choice([weights[place] for place in wanted], f"mixes[{index}].identities")
        self.deck: list[Workload | None] = [None] if mix.kind == "handshake" else list(_deck(job, mix, host))

    def plan(self, caller: Caller, random: int) -> Plan:
        """The card and whether its client leaves come from the random bits."""
        mix = self.mix
        leaves = mix.leaves and ((random >> 40) & 0xFFFF) / 0x10000 < mix.leaves
        return Plan(
            workload=self.deck[(random & 0xFFFF) % len(self.deck)],
            interval=mix.interval,
            reads=mix.reads != "never",
            pace=0.0 if mix.reads == "never" else mix.reads,
            leave_after=mix.leave_after if leaves else 0,
            caller=caller,
            mix=self.index,
        )


class Sizes:
    """Workloads of sizes that no deck has: those used last are kept, as many as fit into a bound. Sizes are rounded to
    four binary digits, so that few are made.
    """

    def __init__(self, job: Job, host: str) -> None:
        self._job = job
        self._host = host
        self._kept: OrderedDict[tuple[int, int, int], Workload] = OrderedDict()
        self._bytes = 0

    def of(self, kind: Kind, prompt: int, completion: int) -> Workload:
        """Of a mix's kind, at these sizes in tokens."""
        key = kind.index, _rounded(min(prompt, _PROMPT_AT_MOST)), _rounded(min(completion, _COMPLETION_AT_MOST))
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        asked = workload_of(kind.mix, self._host, self._job.headers, _TOKEN * max(1, key[1]), max(1, key[2]))
        made = self._kept[key] = fitted(asked, self._job.path, self._job.check)
        self._bytes += made.weight
        while self._bytes > _DECK_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].weight
        return made


def _rounded(size: int) -> int:
    shift = max(0, size.bit_length() - 4)
    return size >> shift << shift


class Draw:
    """Raises `BenchError` for a job of which nothing can be drawn."""

    def __init__(self, job: Job, host: str) -> None:
        self.callers = [caller_of(identity) for identity in job.identities] or [Caller("")]
        weights = [identity.weight for identity in job.identities] or [1.0]
        self._seed = job.seed
        self._clients = job.arrivals.clients
        self._evenly = job.arrivals.kind == "constant"
        self._kinds = [Kind(job, index, host, self.callers, weights) for index in range(len(job.mixes))]
        self._choice = Choice([mix.share for mix in job.mixes], "mixes")
        self._sizes = Sizes(job, host)

    def request(self, number: int) -> Plan:
        """Of an open loop: what falls due as number so-and-so. At a constant rate each mix comes at its own, evenly:
        bursts of one would be load that nobody asked for.
        """
        place = _even(self._seed + number + 1) if self._evenly else unit(bits(self._seed, 2 * number))
        kind = self._kinds[self._choice.at(place)]
        random = bits(self._seed, 2 * number + 1)
        return kind.plan(kind.callers[kind.choice.at((random >> 16 & 0xFFFFFF) / 0x1000000)], random)

    def client(self, number: int) -> Iterator[Plan]:
        """Of a closed loop: all that client number so-and-so asks for. It stays with one mix, and is one identity."""
        kind = self._kinds[self._choice.at((number + 0.5) / self._clients)]
        caller = kind.callers[kind.choice.at(_even(number + 1))]
        turn = 0
        while True:
            yield kind.plan(caller, bits(self._seed + number + 1, turn))
            turn += 1

    def replayed(self, number: int, recorded: Recorded) -> Plan:
        """What a log has as number so-and-so: as much of it as is known, of the mix that is most like it. The client is
        the identity of that name or, where there is none, always the same one.
        """
        kind = self._like(recorded, unit(bits(self._seed, 2 * number)))
        named = [caller for caller in kind.callers if caller.client == recorded.client]
        caller = named[0] if named else kind.callers[kind.choice.at(crc32(recorded.client.encode()) / 2**32)]
        plan = kind.plan(caller, bits(self._seed, 2 * number + 1))
        if recorded.prompt is None or recorded.completion is None or plan.workload is None:
            return plan
        return msgspec.structs.replace(plan, workload=self._sizes.of(kind, recorded.prompt, recorded.completion))

    def _like(self, recorded: Recorded, place: float) -> Kind:
        """A mix of the recorded kind and model; of that kind; or any."""
        alike = [kind for kind in self._kinds if recorded.kind in (None, kind.mix.kind)]
        of_model = [kind for kind in alike if kind.mix.model == recorded.model]
        found = of_model or alike or self._kinds
        return found[Choice([kind.mix.share or 1.0 for kind in found], "mixes").at(place)]


def _deck(job: Job, mix: Mix, host: str) -> Iterator[Workload]:
    sizes = list(dict.fromkeys(_sizes(mix)))
    heaviest = 0
    for number, (prompt, tokens) in enumerate(sizes):
        workload = fitted(workload_of(mix, host, job.headers, prompt, tokens), job.path, job.check)
        heaviest = max(heaviest, workload.weight)
        yield workload
        if (number + 2) * heaviest > _DECK_BYTES:
            return


def _sizes(mix: Mix) -> Iterator[tuple[int, int]]:
    """Pairs that fill both ranges evenly, and each other's (the R2 sequence)."""
    for number in range(_DECK):
        yield (
            _between(mix.prompt, (0.5 + number * 0.7548776662466927) % 1),
            _between(mix.tokens, (0.5 + number * 0.5698402909980532) % 1),
        )


def _between(limits: tuple[int, int], place: float) -> int:
    least, most = limits
    return least + int(place * (most - least + 1))


def workload_of(mix: Mix, host: str, headers: dict[str, str], prompt: int, tokens: int) -> Workload:
    """What is asked of a mix's kind, at these sizes."""
    text = prompt_of(prompt)
    match mix.kind:
        case "embeddings":
            return embeddings(host, headers, mix.model, text)
        case "plain":
            return plain(host, headers, tokens, mix.model, text)
        case _:
            return stream(host, headers, tokens, mix.model, text)
