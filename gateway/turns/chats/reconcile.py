"""Where a request goes on: at the end of a conversation, in a branch of one, or from the start. Performs no I/O.

The aim: the agent's context is the path that the person sees on screen. A conversation that holds the beginning of
the path, and no more, is appended to; one that holds more is branched where the path leaves it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, product

from msgspec import Struct

from gateway.domain.client_texts import PLAIN_TEXTS, ClientTexts
from gateway.domain.messages import Message
from gateway.letta.notes import CONTINUE, GO_AHEAD, STAND_INS
from gateway.letta.upstream import Past
from gateway.turns.chats.likeness import readings, seen
from gateway.turns.chats.markers import ClientId, parse_client_id, pictures_of
from gateway.turns.chats.path import RequestedPath

# So often the message of an id is looked for in one conversation.
MOST_PLACES = 10


class Ids(Struct, frozen=True):
    """Where a frontend says that a request belongs, in digests; None for an id it does not send."""

    answer: str | None = None
    """The message that will be the answer."""
    user: str | None = None
    """The message that is answered."""
    parent: str | None = None
    """The answer before that; empty for the first message of a chat."""
    former: "Ids | None" = None
    """The same as an earlier version read them; None where it read them alike."""


NO_IDS = Ids()


class Append(Struct, frozen=True):
    """Go on at the end of a conversation."""

    at: int
    news: list[Message]


class Branch(Struct, frozen=True):
    """Go on after the first `kept` messages of a conversation, at least one."""

    at: int
    kept: int
    news: list[Message]


class Start(Struct, frozen=True):
    """Begin a conversation with this path."""

    path: list[Message]


Decision = Append | Branch | Start


class Words:
    """The words of answers and questions, each read once: of one decision."""

    def __init__(self, texts: ClientTexts = PLAIN_TEXTS) -> None:
        self._texts = texts
        self._answers: dict[str, str] = {}

    def of_answer(self, answer: str) -> str:
        """The words of an answer that are compared."""
        if answer not in self._answers:
            self._answers[answer] = answer_words(answer, self._texts)
        return self._answers[answer]

    def of_question(self, question: str) -> tuple[str, str]:
        """The words of a question: all of them, and without what a frontend put before it."""
        return seen(question), seen(self._texts.bare(question))


def decide(
    request: RequestedPath,
    ids: Ids,
    keeps_history: bool,
    known: Sequence[Past],
    unkept: Sequence[Message] = (),
    one_chat: bool = True,
    texts: ClientTexts = PLAIN_TEXTS,
) -> Decision:
    """What to do about a request, of all that is known of its chat: the conversation used last comes first.

    `keeps_history`: whether the request tells the whole chat; if not, only what it says after the last answer is new,
    and `unkept` is what was said before that Letta has not kept. `one_chat`: whether all that is `known` is certainly
    of this chat. `texts` tells how the client's texts are read.
    """
    words = Words(texts)
    waiting = _where_it_waits(request, known, words)
    if waiting is not None:
        return Append(waiting, request.beside_results)
    # Who wants an answer to go on is where it ends, not where it began.
    parent, *before = [one.answer if request.goes_on else one.parent for one in (ids, ids.former) if one]
    for named in (parent, *before):
        decision = None if named is None else _by_id(named, request, keeps_history, known, words)
        if decision:
            return decision
    if not keeps_history:
        return _next(request, known, unkept)
    return _by_history(request, known, one_chat and parent is None, words)


def _where_it_waits(request: RequestedPath, known: Sequence[Past], words: Words) -> int | None:
    """The conversation in which the calls wait whose results came; None if none does.

    Models may give the same id to a call again: the question must be the same, as far as the request tells it.
    """
    answered = {result.tool_call_id for result in request.results}
    question = _last_question(request.path[: request.before_results])
    for at, past in enumerate(known):
        last = _last_question(past.messages)
        same = question is None or last is None or last.content == GO_AHEAD or _same_question(last, question, words)
        if same and any(call.tool_call_id in answered for call in past.pending):
            return at
    return None


def _last_question(messages: Sequence[Message]) -> Message | None:
    return next((message for message in reversed(messages) if message.role == "user"), None)


def _next(request: RequestedPath, known: Sequence[Past], unkept: Sequence[Message]) -> Decision:
    """What is new is the next message, or the last one asked again."""
    again = is_same(unkept[-1:], request.news[:1])
    news = [*(unkept[:-1] if again else unkept), *request.news]
    return _at(0, len(known[0].messages), news, known) if known else Start(news)


def _by_id(
    parent: str, request: RequestedPath, keeps_history: bool, known: Sequence[Past], words: Words
) -> Decision | None:
    """What the parent's id says, unless it is not known, or the screen shows another path to it."""
    if not parent:
        return _at_start(request.path if keeps_history else request.news, known)
    places = [(at, *place) for at, past in enumerate(known) for place in _latest_places(parent, past.messages)]
    if places and not keeps_history:
        at, kept, _ = places[0]
        return _at(at, kept, request.news, known)
    # A filter of the frontend's changes messages on their way here, and not in the chat: the ids tell that they are
    # the same.
    for named, lenient in product((False, True), repeat=2):
        for at, kept, is_its_answer in places:
            begun = known[at].messages[:kept]
            followed, used = follow(begun, request.path[:-1], lenient and is_its_answer, named, words)
            if followed == kept:
                return _at(at, kept, request.path[used:], known)
    return None


def _latest_places(parent: str, messages: list[Message]) -> Iterator[tuple[int, bool]]:
    """An id that more messages have than this is none."""
    return islice(_places(parent, messages), MOST_PLACES)


def _places(parent: str, messages: list[Message]) -> Iterator[tuple[int, bool]]:
    """The places after the message of this id, the latest first, and whether it is itself there."""
    end = len(messages)
    for i in reversed(range(len(messages))):
        if messages[i].role != "user":
            continue
        said: ClientId = parse_client_id(messages[i].client_id)
        if said.answer == parent:
            yield end, True
        if said.parent == parent:
            yield i, False
        end = i


def _by_history(request: RequestedPath, known: Sequence[Past], lenient: bool, words: Words) -> Decision:
    """The conversation that holds most of the path; of several, one that holds nothing else; the latest of those.

    Only the one used last may differ in what clients do to answers, and only where that explains more of the path: the
    difference may be all that tells an answer from one that it replaced. (With ids a known answer is found by its id.)
    """
    decision: Decision = Start(request.path)
    best = (0, False, False)
    for at, past in enumerate(known):
        for strict in (True, False) if lenient and at == 0 else (True,):
            kept, used = follow(past.messages, request.path[:-1], not strict, words=words)
            whole = past.appendable and kept == len(past.messages)
            if (used or whole) and (used, strict, whole) > best:
                best = (used, strict, whole)
                decision = _at(at, kept, request.path[used:], known)
            if best == (len(request.path) - 1, True, True):
                return decision
    return decision


def _at_start(path: list[Message], known: Sequence[Past]) -> Decision:
    """A conversation in which nothing was said serves as well as a new one."""
    for at, past in enumerate(known):
        if past.appendable and not past.messages:
            return Append(at, path)
    return Start(path)


def _at(at: int, kept: int, news: list[Message], known: Sequence[Past]) -> Decision:
    past = known[at]
    if past.appendable and kept == len(past.messages):
        return Append(at, news)
    return Branch(at, kept, news) if kept else Start(news)


def follow(
    kept: list[Message], path: list[Message], lenient: bool, named: bool = False, words: Words | None = None
) -> tuple[int, int]:
    """How many messages of `kept` are the beginning of `path`, and how many of `path` that are.

    `lenient`: answers may be cut, or missing where more of the path follows. After `path` comes a user's message.
    `named`: questions may have other words. `words` are those that are known.
    """
    words = words or Words()
    k = p = 0
    while k < len(kept):
        theirs = path[p] if p < len(path) else None
        said = k + 1 if _is_unasked(kept, k, theirs, lenient) else k
        if kept[said].role == "user":
            if theirs is None or theirs.role != "user" or not _same_question(kept[k], theirs, words, named):
                break
            k, p = k + 1, p + 1
        else:
            end = _answer_end(kept, said, theirs, lenient, words)
            if end is None:
                break
            k, p = end, p + (theirs is not None and theirs.role == "assistant")
    return k, p


def questions(kept: list[Message]) -> Iterator[int]:
    """The places of the user's messages that follow a path question by question: all but the gateway's own."""
    for i, message in enumerate(kept):
        goes_on = message.content == CONTINUE and i and kept[i - 1].role == "assistant"
        if message.role == "user" and not (goes_on or message.content == GO_AHEAD):
            yield i


def _is_unasked(kept: list[Message], k: int, theirs: Message | None, lenient: bool) -> bool:
    """Whether an answer follows that nobody had asked for, and the path may show it: no client tells what asked."""
    if kept[k].content != GO_AHEAD or kept[k].role != "user" or theirs is None:
        return False
    return k + 1 < len(kept) and kept[k + 1].role == "assistant" and (lenient or theirs.role == "assistant")


def _answer_end(kept: list[Message], k: int, theirs: Message | None, lenient: bool, words: Words) -> int | None:
    """Where the answer that begins at `k` ends, if it is `theirs`; None if it is not.

    One that was continued, or followed by one that nobody had asked for, may have been shown with that, or without.
    """
    if theirs is None:
        return None
    # Most are as they were given: their words need not be looked at.
    if (theirs.role, theirs.content) == (kept[k].role, kept[k].content) and _ends_at(kept, k + 1):
        return k + 1
    if theirs.role == "user":
        return _last_end(kept, k) if lenient else None
    found = [_end_of_words(kept, k, words.of_answer(text), words) for text in readings(theirs.content)]
    if ends := [end for end, _ in found if end is not None]:
        return max(ends)
    return _last_end(kept, k) if lenient and any(more for _, more in found) else None


def _ends_at(kept: list[Message], k: int) -> bool:
    """Whether an answer before `k` ends there: with the next message that a person has said."""
    return k == len(kept) or (kept[k].role == "user" and kept[k].content not in STAND_INS)


def _last_end(kept: list[Message], k: int) -> int:
    """Where the answer at `k` ends with all that was added to it."""
    return next((i for i in range(k, len(kept)) if kept[i].role == "user" and _ends_at(kept, i)), len(kept))


def _end_of_words(kept: list[Message], k: int, told: str, words: Words) -> tuple[int | None, bool]:
    """Where the answer at `k` has said just what is told, for the last time, and whether it says more than that.

    It may end before each request to go on, and at last. What is said behind is not read.
    """
    end, said = None, 0
    for i in range(k, len(kept)):
        if kept[i].role == "user":
            end = i if said == len(told) else end
            if _ends_at(kept, i):
                return end, False
        elif piece := words.of_answer(kept[i].content):
            if not told.startswith(piece, said):
                return end, piece.startswith(told[said:])
            said += len(piece)
    return len(kept) if said == len(told) else end, False


def answer_words(text: str, texts: ClientTexts = PLAIN_TEXTS) -> str:
    """The words of an answer that are compared."""
    return seen(texts.visible(text))


def is_same(one: Sequence[Message], other: Sequence[Message]) -> bool:
    """Whether two messages of a user's, if there are both, say and show exactly the same."""
    return [_exactly(message) for message in one] == [_exactly(message) for message in other] != []


def _exactly(message: Message) -> tuple[str, str, str]:
    return message.role, message.content, pictures_of(message)


def _same_question(kept: Message, theirs: Message, words: Words, named: bool = False) -> bool:
    shown = pictures_of(theirs)
    if pictures_of(kept) != shown:
        return False
    # What the gateway itself has asked for is no question of theirs.
    if (named and kept.content not in (CONTINUE, GO_AHEAD)) or kept.content == theirs.content:
        return True
    whole, bare = words.of_question(kept.content)
    told = (words.of_question(text) for text in readings(theirs.content))
    return any(one == whole or (without == bare and bool(without or shown)) for one, without in told)
