// A Letta as far as a gateway needs one to stream, at next to no cost: one thread, one epoll. It speaks Letta's REST API,
// and over /ws an App Server's protocol, in the words of tests/runs. It remembers agents, and no conversation's messages.
//
//   letta        serves on a free port of the loopback, and prints it
//
// The last message that holds a marker says how the answer is to be:
//   BENCH:<content tokens>:<reasoning tokens>:<tokens in 1000 s, 0 as fast as they are taken>:<hold ms>:<hold after>:
// After so many tokens the stream is silent for `hold ms`.
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536
#define TURN_EVENTS 512

typedef struct {
    int fd;
    bool websocket, waits_to_write, speaks;
    buffer in, out;
    size_t written;
} conn;

typedef struct {
    conn *to;
    uint64_t due, interval;
    int content, thoughts, position, hold_ms, hold_after, number;
    size_t place;
    char agent[64], conversation[64];
} stream;

typedef struct {
    int number;
    bool rest;
    span tags, metadata;
} agent;

static conn *conns[MOST];
static stream *heap[MOST];
static size_t running;
static agent *agents;
static size_t agent_count;
static int epoll_fd, made;
static volatile sig_atomic_t stopped;

// Streams, the next due one first

static void put_at(size_t i, stream *s) {
    heap[i] = s;
    s->place = i;
}

static void rise(size_t i) {
    for (stream *s = heap[i]; i && heap[(i - 1) / 2]->due > s->due; i = (i - 1) / 2) {
        put_at(i, heap[(i - 1) / 2]);
        put_at((i - 1) / 2, s);
    }
}

static void sink(size_t i) {
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < running && heap[child]->due < heap[least]->due) least = child;
        if (least == i) return;
        stream *s = heap[i];
        put_at(i, heap[least]);
        put_at(least, s);
        i = least;
    }
}

static void end_stream(stream *s) {
    size_t i = s->place;
    s->to->speaks = s->to->websocket;
    free(s);
    if (i == --running) return;
    put_at(i, heap[running]);
    sink(i);
    rise(i);
}

// Connections

static void watch(conn *c, int how) {
    struct epoll_event event = {.events = EPOLLIN | (c->waits_to_write ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(epoll_fd, how, c->fd, &event);
}

static void close_conn(conn *c) {
    for (size_t i = running; i-- > 0;)
        if (i < running && heap[i]->to == c) end_stream(heap[i]), i = running;
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->in.at);
    free(c->out.at);
    free(c);
}

// False once the connection is gone.
static bool flush(conn *c) {
    while (c->written < c->out.size) {
        ssize_t n = send(c->fd, c->out.at + c->written, c->out.size - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            close_conn(c);
            return false;
        }
        if (n < 0) break;
        c->written += (size_t)n;
    }
    bool waits = c->written < c->out.size;
    if (!waits) c->written = c->out.size = 0;
    if (waits != c->waits_to_write) {
        c->waits_to_write = waits;
        watch(c, EPOLL_CTL_MOD);
    }
    return true;
}

static void say_json(conn *c, const buffer *json) {
    char head[160];
    int n = sprintf(head, "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n",
                    json->size);
    append(&c->out, head, (size_t)n);
    append(&c->out, json->at, json->size);
}

static void say_frame(conn *c, int opcode, const char *bytes, size_t size) {
    unsigned char head[10] = {(unsigned char)(0x80 | opcode), (unsigned char)size};
    int wide = size > 65535 ? 8 : size > 125 ? 2 : 0;
    if (wide) head[1] = wide == 8 ? 127 : 126;
    for (int i = 0; i < wide; i++) head[2 + i] = (unsigned char)((uint64_t)size >> 8 * (wide - 1 - i));
    append(&c->out, head, 2 + (size_t)wide);
    append(&c->out, bytes, size);
}

__attribute__((format(printf, 2, 3))) static void write_text(buffer *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    make_room(b, (size_t)size);
    va_start(arguments, format);
    b->size += (size_t)vsnprintf(b->at + b->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
}

// Say one event of a stream: a chunk of HTTP, or a frame.
__attribute__((format(printf, 2, 3))) static void say(conn *c, const char *format, ...) {
    char text[4096], head[16];
    va_list arguments;
    va_start(arguments, format);
    size_t size = (size_t)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size >= sizeof text) {
        fprintf(stderr, "an event of %zu bytes\n", size);
        exit(1);
    }
    if (c->websocket) {
        say_frame(c, 1, text, size);
        return;
    }
    append(&c->out, head, (size_t)sprintf(head, "%zx\r\n", size));
    append(&c->out, text, size);
    append(&c->out, "\r\n", 2);
}

// A turn over REST, as in tests/runs/plain-answer.sse

#define STREAM_HEAD \
    "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncache-control: no-cache\r\ncontent-type: text/event-stream; charset=utf-8\r\n" \
    "transfer-encoding: chunked\r\n\r\n"
#define RUN_ID "\"run_id\":\"run-30781a46-c875-44a9-b93e-c3343e593e31\""
#define MESSAGE(kind, otid) \
    "data: {\"id\":\"message-31147148-ec8c-454a-9c67-%012d\",\"date\":\"2026-11-21T01:49:45+00:00\",\"name\":null," \
    "\"message_type\":\"" kind "\",\"otid\":\"31147148-ec8c-454a-9c67-c0e503d2348" otid "\",\"sender_id\":null," \
    "\"step_id\":\"step-ddb9ac20-ca1c-41c5-9198-568810867640\",\"is_err\":null,\"seq_id\":null," RUN_ID ","

static void begin_rest(stream *s) {
    append(&s->to->out, STREAM_HEAD, sizeof STREAM_HEAD - 1);
    say(s->to,
        "data: {\"id\":\"ping-ff99381d-7318-4489-9d2e-%012d\",\"date\":\"2026-11-21T01:49:45+00:00\",\"name\":null,"
        "\"message_type\":\"ping\",\"otid\":null,\"sender_id\":null,\"step_id\":null,\"is_err\":null,\"seq_id\":null," RUN_ID
        "}\n\n",
        s->number);
}

static void think_rest(stream *s, unsigned long long now) {
    say(s->to,
        MESSAGE("reasoning_message", "0") "\"source\":\"reasoner_model\",\"reasoning\":\" @r%0*llu\",\"signature\":null}\n\n",
        s->number, STAMP_DIGITS, now);
}

static void speak_rest(stream *s, unsigned long long now) {
    say(s->to, MESSAGE("assistant_message", "1") "\"content\":\" @c%0*llu\"}\n\n", s->number, STAMP_DIGITS, now);
}

static void finish_rest(stream *s) {
    int said = s->content + s->thoughts;
    say(s->to, "data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"}\n\n");
    say(s->to,
        "data: {\"message_type\":\"usage_statistics\",\"completion_tokens\":%d,\"prompt_tokens\":1234,\"total_tokens\":%d,"
        "\"step_count\":1,\"run_ids\":null,\"cached_input_tokens\":null,\"cache_write_tokens\":null,"
        "\"reasoning_tokens\":%d,\"context_tokens\":1234}\n\n",
        said, said + 1234, s->thoughts);
    say(s->to, "data: [DONE]\n\n");
    append(&s->to->out, "0\r\n\r\n", 5);
}

// The same on an App Server, as in tests/runs/app-server/plain-answer.jsonl

#define ABOUT(kind) \
    "\"runtime\":{\"agent_id\":\"%s\",\"conversation_id\":\"%s\"},\"event_seq\":%d,\"emitted_at\":" \
    "\"2026-11-21T01:55:40.701Z\",\"idempotency_key\":\"" kind ":%d:99b3e9f6-9692-4a35-b3f1-c49674e3ecfd\"}"
#define OF(s, seq) s->agent, s->conversation, seq, seq
#define DELTA(kind, id) \
    "{\"type\":\"stream_delta\",\"delta\":{\"id\":\"ui-msg-6:" id "\",\"date\":\"2026-11-21T01:55:40.697Z\"," \
    "\"agent_id\":\"%s\",\"conversation_id\":\"%s\",\"message_type\":\"" kind "\","
#define DELTA_END "\"run_id\":\"local-run-%d\",\"seq_id\":%d,\"type\":\"message\"}," ABOUT("stream_delta")

static void tell_loop(stream *s, const char *status, int seq) {
    say(s->to,
        "{\"type\":\"update_loop_status\",\"loop_status\":{\"status\":\"%s\",\"active_run_ids\":[],"
        "\"executing_tool_call_ids\":[]}," ABOUT("update_loop_status"),
        status, OF(s, seq));
}

static void begin_app_server(stream *s, span client_id) {
    tell_loop(s, "SENDING_API_REQUEST", 1);
    tell_loop(s, "SENDING_API_REQUEST", 4);
    say(s->to, "{\"type\":\"update_queue\",\"queue\":[],\"removed\":[]," ABOUT("update_queue"), OF(s, 5));
    tell_loop(s, "WAITING_FOR_API_RESPONSE", 7);
    tell_loop(s, "PROCESSING_API_RESPONSE", 8);
    say(s->to,
        "{\"type\":\"update_loop_status\",\"loop_status\":{\"status\":\"PROCESSING_API_RESPONSE\",\"active_run_ids\":"
        "[\"local-run-%d\"],\"client_message_ids_by_run_id\":{\"local-run-%d\":[\"%.*s\"]},\"executing_tool_call_ids\":[]},"
        ABOUT("update_loop_status"),
        s->number, s->number, (int)client_id.size, client_id.at, OF(s, 9));
}

static void think_app_server(stream *s, unsigned long long now) {
    say(s->to, DELTA("reasoning_message", "reasoning:0") "\"reasoning\":\" @r%0*llu\"," DELTA_END, s->agent, s->conversation,
        STAMP_DIGITS, now, s->number, s->position, OF(s, s->position + 9));
}

static void speak_app_server(stream *s, unsigned long long now) {
    say(s->to,
        DELTA("assistant_message", "assistant:1") "\"content\":[{\"type\":\"text\",\"text\":\" @c%0*llu\"}]," DELTA_END,
        s->agent, s->conversation, STAMP_DIGITS, now, s->number, s->position, OF(s, s->position + 9));
}

static void finish_app_server(stream *s) {
    int said = s->content + s->thoughts, seq = said + 10;
    say(s->to,
        DELTA("usage_statistics", "usage") "\"prompt_tokens\":1234,\"completion_tokens\":%d,\"total_tokens\":%d,"
        "\"cached_input_tokens\":0,\"cache_write_tokens\":0,\"reasoning_tokens\":%d,\"context_tokens\":1234," DELTA_END,
        s->agent, s->conversation, said, said + 1234, s->thoughts, s->number, said + 1, OF(s, seq));
    say(s->to,
        "{\"type\":\"stream_delta\",\"delta\":{\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"," DELTA_END,
        s->number, said + 2, OF(s, seq + 1));
    tell_loop(s, "WAITING_ON_INPUT", seq + 2);
    say(s->to,
        "{\"type\":\"turn_finished\",\"turn_id\":\"turn-7b529ad5-18d7-42eb-9697-e7ffe019992a\",\"stop_reason\":\"end_turn\","
        "\"run_id\":\"local-run-%d\"," ABOUT("turn_finished"),
        s->number, OF(s, seq + 4));
}

// The last marker of a body; an answer of 100 tokens, 50 a second, where there is none.
static stream *begin_stream(conn *c, span body) {
    stream *s = needed(calloc(1, sizeof *s));
    long rate = 50000;
    char marker[96] = "";
    s->content = 100;
    for (span rest = body;;) {
        const char *found = rest.size ? memmem(rest.at, rest.size, "BENCH:", 6) : NULL;
        if (!found) break;
        rest = (span){found + 6, (size_t)(body.at + body.size - found - 6)};
        snprintf(marker, sizeof marker, "%.*s", (int)(rest.size < 90 ? rest.size : 90), rest.at);
    }
    sscanf(marker, "%d:%d:%ld:%d:%d:", &s->content, &s->thoughts, &rate, &s->hold_ms, &s->hold_after);
    s->to = c;
    s->number = ++made;
    s->interval = rate > 0 ? 1000000000000ull / (uint64_t)rate : 0;
    s->due = now_ns();
    c->speaks = true;
    put_at(running, s);
    rise(running++);
    return s;
}

// Say what is due of a stream.
static void go_on(stream *s) {
    conn *c = s->to;
    bool over_websocket = c->websocket;
    int all = s->content + s->thoughts;
    for (int n = 0; n < 64; n++) {
        if (s->position++ == all) {
            (over_websocket ? finish_app_server : finish_rest)(s);
            end_stream(s);
            flush(c);
            return;
        }
        if (s->position <= s->thoughts)
            (over_websocket ? think_app_server : think_rest)(s, now_ns());
        else
            (over_websocket ? speak_app_server : speak_rest)(s, now_ns());
        if (!flush(c)) return;
        bool holds_now = s->hold_ms && s->position == s->hold_after;
        if (holds_now) s->due += (uint64_t)s->hold_ms * 1000000ull;
        if (s->interval || holds_now || c->waits_to_write) break;
    }
    s->due += s->interval;
    // Who takes it more slowly than it comes is asked again in a while.
    if (!s->interval && c->waits_to_write) s->due = now_ns() + 1000000;
    sink(s->place);
}

// What it remembers

// Whether an agent has all the tags of a JSON array.
static bool is_tagged(const agent *a, span wanted) {
    char quoted[512];
    const char *end = wanted.at + wanted.size;
    for (const char *p = after_blank(wanted.at + 1, end); p < end && *p == '"'; p = after_blank(p, end)) {
        const char *next = after_string(p, end);
        snprintf(quoted, sizeof quoted, "%.*s", (int)(next - p), p);
        if (!holds(a->tags, quoted)) return false;
        p = next;
    }
    return true;
}

static agent *add_agent(bool rest, span tags, span metadata) {
    agents = needed(realloc(agents, (agent_count + 1) * sizeof *agents));
    agent *a = agents + agent_count++;
    *a = (agent){(int)agent_count, rest, kept(tags.at ? tags : (span){"[]", 2}), kept(metadata.at ? metadata : (span){"{}", 2})};
    return a;
}

// The agent of an id that was given out, whose digits tell its place.
static agent *find_agent(span id) {
    const char *digits = id.at ? memrchr(id.at, '-', id.size) : NULL;
    size_t number = digits ? strtoul(digits + 1, NULL, 10) : 0;
    return number && number <= agent_count ? agents + number - 1 : NULL;
}

static void replace(span *old, span new) {
    if (!new.at) return;
    free((char *)old->at);
    *old = kept(new);
}

static void write_agent(buffer *b, const agent *a) {
    if (a->rest)
        write_text(b,
                   "{\"id\":\"agent-0d1e2f3a-4b5c-4d6e-8f70-%012d\",\"name\":\"bench\",\"agent_type\":\"letta_v1_agent\","
                   "\"created_at\":\"2026-11-21T01:30:%02d.%06dZ\",\"model\":\"openai/gpt-4o-mini\",\"model_settings\":"
                   "{\"provider_type\":\"openai\",\"temperature\":null,\"parallel_tool_calls\":false},\"blocks\":[],"
                   "\"tools\":[],\"tags\":%s,\"metadata\":%s}",
                   a->number, a->number / 1000000, a->number % 1000000, a->tags.at, a->metadata.at);
    else
        write_text(b, "{\"id\":\"agent-local-eda8cc00-de72-43f0-bcee-%012d\",\"name\":\"bench\",\"model\":\"openai/gpt-4o-mini\","
                   "\"tags\":%s}", a->number, a->tags.at);
}

static void write_agents(buffer *b, bool rest, span tags) {
    bool first = true;
    append(b, "[", 1);
    for (size_t i = 0; i < agent_count; i++) {
        if (agents[i].rest != rest || !is_tagged(agents + i, tags)) continue;
        if (!first) append(b, ",", 1);
        write_agent(b, agents + i);
        first = false;
    }
    append(b, "]", 1);
}

// What is asked of it over REST

// The values of `tags=` in a query, as a JSON array.
static void write_tags(buffer *b, span query) {
    const char *p = query.at, *end = p + query.size;
    bool first = true;
    append(b, "[", 1);
    while (p < end) {
        span one = {p, (size_t)((memchr(p, '&', (size_t)(end - p)) ?: (void *)end) - (void *)p)};
        p += one.size + 1;
        size_t skipped = starts(one, "tags=") ? 5 : starts(one, "tags%5B%5D=") ? 11 : starts(one, "tags[]=") ? 7 : 0;
        if (!skipped) continue;
        append(b, ",\"" + first, 2 - first);
        first = false;
        for (size_t i = skipped; i < one.size; i++) {
            char decoded = one.at[i] == '+' ? ' ' : one.at[i];
            if (decoded == '%' && i + 2 < one.size) {
                char hex[3] = {one.at[i + 1], one.at[i + 2], 0};
                decoded = (char)strtol(hex, NULL, 16);
                i += 2;
            }
            append(b, &decoded, 1);
        }
        append(b, "\"", 1);
    }
    append(b, "]", 1);
}

static void answer_agents(buffer *answer, span method, span path, span query, span body) {
    static buffer tags;
    agent *named = starts(path, "/v1/agents/agent-") ? find_agent(path) : NULL;
    if (same(method, "POST")) {
        write_agent(answer, add_agent(true, field(body, "tags"), field(body, "metadata")));
    } else if (named) {
        replace(&named->metadata, field(body, "metadata"));
        write_agent(answer, named);
    } else {
        tags.size = 0;
        write_tags(&tags, query);
        write_agents(answer, true, (span){tags.at, tags.size});
    }
}

static void answer_rest(conn *c, span method, span target, span body) {
    static buffer answer;
    const char *mark = memchr(target.at, '?', target.size);
    span path = {target.at, mark ? (size_t)(mark - target.at) : target.size};
    span query = {mark ? mark + 1 : target.at, mark ? target.size - path.size - 1 : 0};
    bool posted = same(method, "POST");
    answer.size = 0;
    if (posted && holds(path, "/messages")) {
        begin_rest(begin_stream(c, body));
        flush(c);
        return;
    }
    if (starts(path, "/v1/agents"))
        answer_agents(&answer, method, path, query, body);
    else if (starts(path, "/v1/conversations") && (posted || same(method, "PATCH")))
        write_text(&answer,
                   "{\"id\":\"conv-5f1c2d3e-4a5b-4c6d-8e7f-%012d\",\"agent_id\":\"agent-0\",\"created_at\":"
                   "\"2026-11-21T01:30:00Z\",\"summary\":null,\"in_context_message_ids\":[]}",
                   ++made);
    else if (starts(path, "/v1/health"))
        write_text(&answer, "{\"version\":\"0.16.8\",\"status\":\"ok\"}");
    else if (starts(path, "/v1/models"))
        write_text(&answer, "[{\"handle\":\"openai/gpt-4o-mini\"}]");
    else
        write_text(&answer, "[]");
    say_json(c, &answer);
    flush(c);
}

static span header(span head, const char *name) {
    const char *end = head.at + head.size;
    size_t size = strlen(name);
    for (const char *p = head.at; p < end; p++) {
        if ((size_t)(end - p) > size && !strncasecmp(p, name, size) && p[size] == ':') {
            for (p += size + 1; *p == ' '; p++);
            return (span){p, (size_t)((const char *)memchr(p, '\r', (size_t)(end - p)) - p)};
        }
        p = memchr(p, '\n', (size_t)(end - p)) ?: end;
    }
    return (span){0};
}

// Take a request from what has arrived; false while there is none.
static bool take_request(conn *c) {
    const char *end = c->in.size ? memmem(c->in.at, c->in.size, "\r\n\r\n", 4) : NULL;
    if (!end || c->speaks) return false;
    span head = {c->in.at, (size_t)(end - c->in.at) + 2}, told = header(head, "content-length");
    size_t size = head.size + 2 + (told.at ? strtoul(told.at, NULL, 10) : 0);
    if (c->in.size < size) return false;
    span method = {head.at, (size_t)((const char *)memchr(head.at, ' ', head.size) - head.at)};
    span target = {method.at + method.size + 1, 0};
    target.size = (size_t)((const char *)memchr(target.at, ' ', head.size) - target.at);
    if (starts(target, "/ws")) {
        char accept[29];
        accept_key(header(head, "sec-websocket-key"), accept);
        write_text(&c->out,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
        c->websocket = true;
        drop_front(&c->in, size);
        return flush(c);
    }
    int fd = c->fd;
    answer_rest(c, method, target, (span){head.at + head.size + 2, size - head.size - 2});
    if (conns[fd] != c) return false;
    drop_front(&c->in, size);
    return true;
}

// What is asked of it over a WebSocket

static void begin_turn(conn *c, span frame, span payload) {
    span runtime = field(frame, "runtime"), messages = field(payload, "messages");
    span agent_id = text_of(field(runtime, "agent_id")), conversation = text_of(field(runtime, "conversation_id"));
    span first = {messages.at ? messages.at + 1 : "", messages.size ? messages.size - 1 : 0};
    stream *s = begin_stream(c, frame);
    snprintf(s->agent, sizeof s->agent, "%.*s", (int)agent_id.size, agent_id.at);
    snprintf(s->conversation, sizeof s->conversation, "%.*s", (int)conversation.size, conversation.at);
    begin_app_server(s, text_of(field(first, "client_message_id")));
}

static void answer_frame(conn *c, span frame) {
    static buffer answer;
    span type = text_of(field(frame, "type")), request = field(frame, "request_id"), body = field(frame, "body");
    span payload = field(frame, "payload");
    bool begins = same(type, "input") && same(text_of(field(payload, "kind")), "create_message");
    answer.size = 0;
    write_text(&answer, "{\"type\":\"%.*s_response\",\"request_id\":%.*s,\"success\":true", (int)type.size, type.at,
               (int)request.size, request.at);
    if (same(type, "agent_list")) {
        append(&answer, ",\"agents\":", 10);
        write_agents(&answer, false, field(field(frame, "query"), "tags"));
    } else if (starts(type, "agent_")) {
        agent *named = same(type, "agent_create") ? add_agent(false, field(body, "tags"), (span){0})
                                                  : find_agent(text_of(field(frame, "agent_id")));
        if (named && same(type, "agent_update")) replace(&named->tags, field(body, "tags"));
        append(&answer, ",\"agent\":", 9);
        if (named) write_agent(&answer, named);
        else append(&answer, "null", 4);
    } else if (same(type, "conversation_list")) {
        write_text(&answer, ",\"conversations\":[]");
    } else if (same(type, "conversation_create") || same(type, "conversation_fork")) {
        write_text(&answer, ",\"conversation\":{\"id\":\"local-conv-%d\",\"agent_id\":\"agent-local-0\"}", ++made);
    } else if (same(type, "conversation_messages_list")) {
        write_text(&answer, ",\"messages\":[]");
    } else if (same(type, "list_models")) {
        write_text(&answer, ",\"entries\":[{\"handle\":\"openai/gpt-4o-mini\",\"label\":\"GPT-4o mini\"}]");
    } else if (same(type, "app_server_info")) {
        write_text(&answer, ",\"protocol_version\":1");
    } else if (same(type, "input")) {
        write_text(&answer, ",\"accepted\":true,\"disposition\":\"started\"");
    }
    append(&answer, "}", 1);
    if (request.at) say_frame(c, 1, answer.at, answer.size);
    if (begins) begin_turn(c, frame, payload);
}

// Take a frame from what has arrived; false while there is none.
static bool take_frame(conn *c) {
    unsigned char *p = (unsigned char *)c->in.at;
    if (c->in.size < 6) return false;
    size_t size = p[1] & 127, at = 2;
    int wide = size == 127 ? 8 : size == 126 ? 2 : 0;
    if (wide) {
        if (c->in.size < 14) return false;
        size = 0;
        for (int i = 0; i < wide; i++) size = size << 8 | p[at++];
    }
    if (c->in.size < at + 4 + size) return false;
    unsigned char *mask = p + at, *text = p + at + 4, opcode = p[0] & 15;
    for (size_t i = 0; i < size; i++) text[i] ^= mask[i & 3];
    if (!(p[0] & 0x80)) {
        fprintf(stderr, "a message in pieces\n");
        exit(1);
    }
    if (opcode == 8) {
        close_conn(c);
        return false;
    }
    if (opcode == 9) say_frame(c, 10, (char *)text, size);
    if (opcode == 1) answer_frame(c, (span){(char *)text, size});
    if (!flush(c)) return false;
    drop_front(&c->in, at + 4 + size);
    return true;
}

static void read_more(conn *c) {
    int fd = c->fd;
    make_room(&c->in, 65536);
    ssize_t n = recv(fd, c->in.at + c->in.size, c->in.room - c->in.size - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        close_conn(c);
        return;
    }
    c->in.size += (size_t)n;
    while (conns[fd] == c && (c->websocket ? take_frame(c) : take_request(c)));
}

static void admit(int listening) {
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MOST) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        conns[fd] = needed(calloc(1, sizeof(conn)));
        conns[fd]->fd = fd;
        watch(conns[fd], EPOLL_CTL_ADD);
    }
}

static int listen_on_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&address, &size)) {
        perror("listen");
        exit(1);
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void stop(int number) {
    (void)number;
    stopped = 1;
}

int main(void) {
    struct epoll_event events[512];
    epoll_fd = epoll_create1(0);
    int listening = listen_on_free_port();
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listening, &(struct epoll_event){.events = EPOLLIN, .data.fd = listening});
    while (!stopped) {
        uint64_t now = now_ns(), wait = running && heap[0]->due > now ? heap[0]->due - now : 0;
        struct timespec time = {(time_t)(wait / 1000000000ull), (long)(wait % 1000000000ull)};
        int ready = epoll_pwait2(epoll_fd, events, 512, running ? &time : NULL, NULL);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) {
                admit(listening);
                continue;
            }
            if (conns[fd] && events[i].events & EPOLLOUT && !flush(conns[fd])) continue;
            if (conns[fd] && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_more(conns[fd]);
        }
        now = now_ns();
        for (int said = 0; said < TURN_EVENTS && running && heap[0]->due <= now; said++) go_on(heap[0]);
    }
    return 0;
}
