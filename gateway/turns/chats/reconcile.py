"""The decision where a request goes on: at the end of a conversation, in a branch, or from the start. Performs no I/O.

The aim: the agent's context is the path that the person sees on screen. A conversation that holds the beginning of
the path, and no more, is appended to; one that holds more is branched where the path leaves it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, product

from msgspec import Struct

from gateway.domain.messages import Message
from gateway.domain.texts.client_texts import PLAIN_TEXTS, ClientTexts
from gateway.letta.notes import CONTINUE, GO_AHEAD, STAND_INS
from gateway.letta.upstream import Past
from gateway.turns.chats.likeness import Matched, readings, seen
from gateway.turns.chats.markers import ClientId, parse_client_id, pictures_of
from gateway.turns.chats.path import RequestedPath

# The most places in one conversation at which the message of an id is looked for, the latest first.
MOST_PLACES = 10


class Ids(Struct, frozen=True):
    """The message ids by which a frontend says where a request belongs, as digests; None for one it does not send."""

    answer: str | None = None
    """The message that will be the answer."""
    user: str | None = None
    """The message that is answered."""
    parent: str | None = None
    """The answer before that; empty for the first message of a chat."""
    former: "Ids | None" = None
    """The same ids as an earlier version of the gateway read them; None if it read them alike."""


NO_IDS = Ids()


class Append(Struct, frozen=True):
    """Go on at the end of a conversation: send it `news`."""

    at: int
    """The index of the conversation among those known; so it is in `Branch`."""
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
    """The words of answers and questions, as they are compared in one decision; each answer is read once."""

    def __init__(self, texts: ClientTexts = PLAIN_TEXTS) -> None:
        self._texts = texts
        self._answers: dict[str, str] = {}

    def of_answer(self, answer: str) -> str:
        """The compared words of an answer."""
        if answer not in self._answers:
            self._answers[answer] = answer_words(answer, self._texts)
        return self._answers[answer]

    def of_question(self, question: str) -> tuple[str, str]:
        """The compared words of a question: all of them, and those without the text that a frontend put before it."""
        whole, bare = seen(question), self._texts.bare(question)
        return whole, whole if bare == question else seen(bare)


def decide(
    request: RequestedPath,
    ids: Ids,
    keeps_history: bool,
    known: Sequence[Past],
    unkept: Sequence[Message] = (),
    one_chat: bool = True,
    texts: ClientTexts = PLAIN_TEXTS,
    matched: Sequence[Matched] = (),
) -> Decision:
    """Decide where a request goes on, among the `known` conversations of its chat, the one used last first.

    `keeps_history`: True if the request tells the whole chat; if not, only its messages after the last answer are new,
    and `unkept` are the messages before them that Letta has not kept. `one_chat`: True if all that are `known` are
    certainly of this chat. `texts` tells how the client's texts are read. `matched` is what is remembered of each of
    the `known`; it changes nothing but the time that it takes.
    """
    words = Words(texts)
    waiting = _where_it_waits(request, known, words, keeps_history)
    if waiting is not None:
        return Append(waiting, request.beside_results)
    # A request to continue an answer goes on behind that answer itself; any other goes on behind its parent.
    parent, *before = [one.answer if request.goes_on else one.parent for one in (ids, ids.former) if one]
    for named in (parent, *before):
        decision = None if named is None else _by_id(named, request, keeps_history, known, words, matched)
        if decision:
            return decision
    if not keeps_history:
        return _next(request, known, unkept)
    return _by_history(request, known, one_chat and parent is None, words, matched)


def _where_it_waits(request: RequestedPath, known: Sequence[Past], words: Words, whole: bool) -> int | None:
    """The index of the conversation in which the calls wait whose results came; None if there is none.

    Models may give the same id to another call: so the question must be the same, too, as far as the request tells it.
    One that does not tell the `whole` chat may tell none.
    """
    answered = request.answered
    question = _last_question(request.path[: request.before_results])
    if question and question.content == GO_AHEAD and not whole:
        question = None
    for at, past in enumerate(known):
        last = _last_question(past.messages)
        same = question is None or last is None or last.content == GO_AHEAD or _same_question(last, question, words)
        if same and any(call.tool_call_id in answered for call in past.pending):
            return at
    return None


def _last_question(messages: Sequence[Message]) -> Message | None:
    return next((message for message in reversed(messages) if message.role == "user"), None)


def _next(request: RequestedPath, known: Sequence[Past], unkept: Sequence[Message]) -> Decision:
    """Send the new messages to the conversation used last, after the unkept ones.

    If the first new message is the same as the last unkept one, the person has asked that one again: it is sent once.
    """
    again = is_same(unkept[-1:], request.news[:1])
    news = [*(unkept[:-1] if again else unkept), *request.news]
    return _at(0, len(known[0].messages), news, known) if known else Start(news)


def _by_id(
    parent: str,
    request: RequestedPath,
    keeps_history: bool,
    known: Sequence[Past],
    words: Words,
    matched: Sequence[Matched] = (),
) -> Decision | None:
    """Go on after the message with the parent's id; None if it is not known, or the request shows another path to it.

    An empty id is that of a first message.
    """
    if not parent:
        return _at_start(request.path if keeps_history else request.news, known)
    places = [(at, *place) for at, past in enumerate(known) for place in _latest_places(parent, past.messages)]
    if places and not keeps_history:
        at, kept, _ = places[0]
        return _at(at, kept, request.news, known)
    # Questions may have other words in a second try (`named`): a filter of the frontend's changes messages on their
    # way here, and not in the chat, and the ids tell that they are the same.
    for named, lenient in product((False, True), repeat=2):
        for at, kept, is_its_answer in places:
            begun = known[at].messages[:kept]
            before = matched[at] if matched else None
            followed, used = follow(begun, request.path[:-1], lenient and is_its_answer, named, words, before)
            if followed == kept:
                return _at(at, kept, request.path[used:], known)
    return None


def _latest_places(parent: str, messages: list[Message]) -> Iterator[tuple[int, bool]]:
    """The latest MOST_PLACES places of an id: an id that more messages have is no real one."""
    return islice(_places(parent, messages), MOST_PLACES)


def _places(parent: str, messages: list[Message]) -> Iterator[tuple[int, bool]]:
    """The places after the message of this id, the latest first; and True if the conversation has its answer.

    False: only the question that follows it names it, as its parent.
    """
    end = len(messages)
    for i in reversed(range(len(messages))):
        if messages[i].role != "user":
            continue
        # Nearly all ids hold others: only those that hold this one are read.
        if parent in messages[i].client_id:
            said: ClientId = parse_client_id(messages[i].client_id)
            if said.answer == parent:
                yield end, True
            if said.parent == parent:
                yield i, False
        end = i


def _by_history(
    request: RequestedPath, known: Sequence[Past], lenient: bool, words: Words, matched: Sequence[Matched] = ()
) -> Decision:
    """Go on in the conversation that holds most of the path; of several, in one that holds nothing else, the latest.

    Clients cut or leave out answers. Only the conversation used last may differ so (`lenient`), and only if more of
    the path then fits: the difference may be all that tells an answer from one that it replaced. With ids such an
    answer is found by its id.
    """
    decision: Decision = Start(request.path)
    best = (0, False, False)
    for at, past in enumerate(known):
        for strict in (True, False) if lenient and at == 0 else (True,):
            before = matched[at] if matched else None
            kept, used = follow(past.messages, request.path[:-1], not strict, words=words, matched=before)
            whole = past.appendable and kept == len(past.messages)
            if (used or whole) and (used, strict, whole) > best:
                best = (used, strict, whole)
                decision = _at(at, kept, request.path[used:], known)
            if best == (len(request.path) - 1, True, True):
                return decision
    return decision


def _at_start(path: list[Message], known: Sequence[Past]) -> Decision:
    """Begin with `path`: in a known conversation that is empty, which serves as well as a new one, or in a new one."""
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
    kept: list[Message],
    path: list[Message],
    lenient: bool,
    named: bool = False,
    words: Words | None = None,
    matched: Matched | None = None,
) -> tuple[int, int]:
    """The number of messages of `kept` that are a beginning of `path`, and the number of messages of that beginning.

    The numbers differ where an answer that was continued is one message of `path`, and several of `kept`.
    `lenient`: answers may be cut, or missing where more of the path follows. After `path` comes a user's message.
    `named`: questions may have other words. `words` are those that were read before. `matched` is what was compared
    before; it is of use where everything must be the same, and is then brought up to date.
    """
    words = words or Words()
    matched = None if lenient or named else matched
    skipped = question = matched.skip(kept, path) if matched else (0, 0)
    k, p = skipped
    while k < len(kept):
        if kept[k].role == "user" and kept[k].content not in STAND_INS:
            question = k, p
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
    if matched:
        matched.note(kept, path, skipped[1], question)
    return k, p


def questions(kept: list[Message]) -> Iterator[int]:
    """The places of the user's messages that follow a path question by question: all but the gateway's own."""
    for i, message in enumerate(kept):
        goes_on = message.content == CONTINUE and i and kept[i - 1].role == "assistant"
        if message.role == "user" and not (goes_on or message.content == GO_AHEAD):
            yield i


def _is_unasked(kept: list[Message], k: int, theirs: Message | None, lenient: bool) -> bool:
    """True if `kept[k]` is GO_AHEAD with its answer behind it, and the path may show that answer.

    No client tells of GO_AHEAD itself: the gateway has said it.
    """
    if kept[k].content != GO_AHEAD or kept[k].role != "user" or theirs is None:
        return False
    return k + 1 < len(kept) and kept[k + 1].role == "assistant" and (lenient or theirs.role == "assistant")


def _answer_end(kept: list[Message], k: int, theirs: Message | None, lenient: bool, words: Words) -> int | None:
    """The index behind the answer that begins at `k`, if it is `theirs`; None if it is another.

    An answer that was continued, or was followed by one that nobody had asked for, may be shown with that or without.
    """
    if theirs is None:
        return None
    # Most answers come back exactly as they were given: then their words need not be read.
    if (theirs.role, theirs.content) == (kept[k].role, kept[k].content) and _ends_at(kept, k + 1):
        return k + 1
    if theirs.role == "user":
        return _last_end(kept, k) if lenient else None
    found = [_end_of_words(kept, k, words.of_answer(text), words) for text in readings(theirs.content)]
    if ends := [end for end, _ in found if end is not None]:
        return max(ends)
    return _last_end(kept, k) if lenient and any(more for _, more in found) else None


def _ends_at(kept: list[Message], k: int) -> bool:
    """True if an answer before `k` ends there: a person's next message stands at `k`, or nothing."""
    return k == len(kept) or (kept[k].role == "user" and kept[k].content not in STAND_INS)


def _last_end(kept: list[Message], k: int) -> int:
    """The index behind the answer at `k` and all that was added to it."""
    return next((i for i in range(k, len(kept)) if kept[i].role == "user" and _ends_at(kept, i)), len(kept))


def _end_of_words(kept: list[Message], k: int, told: str, words: Words) -> tuple[int | None, bool]:
    """The last index behind the answer at `k` at which its words are just `told`; and True if it says more than that.

    The index is None if its words are never just those. The answer may end before each request to continue it, and
    at its last part. Messages behind it are not read.
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
    """The compared words of an answer: those that a person sees, in their comparable form."""
    return seen(texts.visible(text))


def is_same(one: Sequence[Message], other: Sequence[Message]) -> bool:
    """True if both messages are there, and say and show exactly the same. (Each comes as a list of one or none.)"""
    return [_exactly(message) for message in one] == [_exactly(message) for message in other] != []


def _exactly(message: Message) -> tuple[str, str, str]:
    return message.role, message.content, pictures_of(message)


def _same_question(kept: Message, theirs: Message, words: Words, named: bool = False) -> bool:
    shown = pictures_of(theirs)
    if pictures_of(kept) != shown:
        return False
    # The gateway's own requests, CONTINUE and GO_AHEAD, never stand for a question of the person's.
    if (named and kept.content not in (CONTINUE, GO_AHEAD)) or kept.content == theirs.content:
        return True
    whole, bare = words.of_question(kept.content)
    told = (words.of_question(text) for text in readings(theirs.content))
    return any(one == whole or (without == bare and bool(without or shown)) for one, without in told)
