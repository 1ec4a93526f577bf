// A Letta as far as a gateway needs one to stream, at next to no cost: one thread, one epoll. It speaks Letta's REST
// API, and over /ws an App Server's protocol, in the words of tests/runs. It remembers agents, and no conversation's
// messages.
//
//   letta        serves on a free port of the loopback, and prints it
//
// The last message that holds a marker says how the answer is to be:
//   BENCH:<content tokens>:<reasoning tokens>:<tokens in 1000 s, 0 as fast as they are taken>:<hold ms>:<hold after>:
// After so many tokens the stream is silent for `hold ms`.
#include "agents.h"
#include "handshake.h"
#include "speech.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>

// The most that is said before connections are looked at again.
#define TURN_EVENTS 512

static volatile sig_atomic_t stopped;

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
        if (s->position <= s->thoughts) (over_websocket ? think_app_server : think_rest)(s, now_ns());
        else (over_websocket ? speak_app_server : speak_rest)(s, now_ns());
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

// Requests over REST

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
    if (starts(path, "/v1/agents")) answer_agents(&answer, method, path, query, body);
    else if (starts(path, "/v1/conversations") && (posted || same(method, "PATCH")))
        write_text(&answer,
                   "{\"id\":\"conv-5f1c2d3e-4a5b-4c6d-8e7f-%012d\",\"agent_id\":\"agent-0\",\"created_at\":"
                   "\"2026-11-21T01:30:00Z\",\"summary\":null,\"in_context_message_ids\":[]}",
                   ++made);
    else if (starts(path, "/v1/health")) write_text(&answer, "{\"version\":\"0.16.8\",\"status\":\"ok\"}");
    else if (starts(path, "/v1/models")) write_text(&answer, "[{\"handle\":\"openai/gpt-4o-mini\"}]");
    else write_text(&answer, "[]");
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

// Take one from what has arrived; false while there is none.
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

// Requests over a WebSocket

static void begin_turn(conn *c, span frame, span payload) {
    span runtime = field(frame, "runtime"), messages = field(payload, "messages");
    span agent_id = text_of(field(runtime, "agent_id")), conversation = text_of(field(runtime, "conversation_id"));
    span first = {messages.at ? messages.at + 1 : "", messages.size ? messages.size - 1 : 0};
    stream *s = begin_stream(c, frame);
    snprintf(s->agent, sizeof s->agent, "%.*s", (int)agent_id.size, agent_id.at);
    snprintf(s->conversation, sizeof s->conversation, "%.*s", (int)conversation.size, conversation.at);
    span id = text_of(field(first, "client_message_id"));
    snprintf(s->message, sizeof s->message, "%.*s", (int)id.size, id.at);
    begin_app_server(s);
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
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &size)) {
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
