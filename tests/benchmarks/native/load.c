// Streams of chat, as many as are asked for, read by one thread; prints one line of JSON about how they came.
//
//   load port=8000 api=openai streams=60 content=120 thoughts=30 rate=50000 ramp_ms=1000 timeout_s=30
//        people=bench persons=0 model=bench hold_ms=0 hold_after=0
//
// api: `openai` asks a gateway for chat completions, `responses` for responses, `letta` asks the mock itself. Each stream is the first turn of a chat of its own, of the
// person <people>-<number>; with `persons=10` ten of them take turns. The key stands in BENCH_KEY. Times are in
// microseconds; a token's delay is from the mock's stamp in it to where it is read here.
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONGEST_REST 40

typedef enum { NEW, CONNECTING, READING, OVER } state;

typedef struct {
    int fd, content, thoughts, status;
    state state;
    bool done, terminated;
    uint64_t asked, first;
    size_t carried;
    char rest[LONGEST_REST];
} stream;

static struct {
    const char *api, *people, *model;
    int port, streams, content, thoughts, hold_ms, hold_after, ramp_ms, timeout_s, persons;
    long rate;
} want = {"openai", "bench", "bench", 0, 1, 100, 0, 0, 0, 0, 30, 0, 50000};

static uint32_t *delays, *firsts;
static size_t delay_count, most_delays, first_count;
static uint64_t run, first_token, last_token;
static int failed, refused, broken, cut_short, endless, finished;
static int epoll_fd;
static char in[1 << 18];

static void read_option(const char *option) {
    const char *value = strchr(option, '=');
    struct {
        const char *name;
        int *number;
    } numbers[] = {{"port", &want.port},         {"streams", &want.streams},     {"content", &want.content},
                   {"thoughts", &want.thoughts}, {"hold_ms", &want.hold_ms},     {"hold_after", &want.hold_after},
                   {"ramp_ms", &want.ramp_ms},   {"timeout_s", &want.timeout_s}, {"persons", &want.persons}};
    span name = {option, value ? (size_t)(value++ - option) : 0};
    if (same(name, "api")) want.api = value;
    else if (same(name, "people")) want.people = value;
    else if (same(name, "model")) want.model = value;
    else if (same(name, "rate")) want.rate = atol(value);
    else {
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            if (same(name, numbers[i].name)) {
                *numbers[i].number = atoi(value);
                return;
            }
        fprintf(stderr, "unknown option %s\n", option);
        exit(2);
    }
}

// Tenths of a microsecond.
static uint32_t tenths(uint64_t from, uint64_t to) {
    uint64_t time = to > from ? (to - from) / 100 : 0;
    return time < UINT32_MAX ? (uint32_t)time : UINT32_MAX;
}

static int in_order(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double share(const uint32_t *sorted, size_t count, double part) {
    return count ? sorted[(size_t)(part * (double)(count - 1) + 0.5)] / 10.0 : -1;
}

static void end(stream *s, int *why) {
    s->state = OVER;
    close(s->fd);
    finished++;
    if (!why) return;
    ++*why;
    failed++;
}

static void ask(stream *s, int number) {
    char body[2048], request[4096], marker[128];
    const char *key = getenv("BENCH_KEY");
    bool letta = !strcmp(want.api, "letta"), responses = !strcmp(want.api, "responses");
    sprintf(marker, "BENCH:%d:%d:%ld:%d:%d:", want.content, want.thoughts, want.rate, want.hold_ms, want.hold_after);
    int size = letta ? snprintf(body, sizeof body,
                                "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}],\"streaming\":true,"
                                "\"stream_tokens\":true}",
                                marker)
                     : snprintf(body, sizeof body,
                                "{\"model\":\"%s\",\"user\":\"%s-%d\",\"metadata\":{\"chat_id\":\"c-%llu-%d\"},"
                                "\"stream\":true,%s[{\"role\":\"user\",\"content\":\"%s\"}]}",
                                want.model, want.people, want.persons ? number % want.persons : number,
                                (unsigned long long)run, number,
                                responses ? "\"input\":" : "\"stream_options\":{\"include_usage\":true},\"messages\":",
                                marker);
    int all = snprintf(request, sizeof request,
                       "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\n"
                       "content-type: application/json\r\naccept: text/event-stream\r\n%scontent-length: %d\r\n\r\n%s",
                       letta       ? "/v1/conversations/conv-0/messages"
                       : responses ? "/v1/responses"
                                   : "/v1/chat/completions",
                       want.port,
                       key ? key : "none",
                       // As OpenAI's SDKs do, which say so of what they send again: its answer is worth keeping.
                       letta ? "" : "x-stainless-retry-count: 0\r\n", size, body);
    s->asked = now_ns();
    if (send(s->fd, request, (size_t)all, MSG_NOSIGNAL) != all) {
        end(s, &broken);
        return;
    }
    s->state = READING;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &(struct epoll_event){.events = EPOLLIN, .data.u32 = (uint32_t)number});
}

static void begin(stream *s, int number) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)want.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (s->fd < 0) {
        perror("socket");
        exit(1);
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    s->state = CONNECTING;
    connect(s->fd, (struct sockaddr *)&address, sizeof address);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data.u32 = (uint32_t)number};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &event);
}

// True of the token that an event brings: those of a response are told again, with all that came before them.
static bool is_new(const char *at) {
    static const char before[] = "\"delta\":\" ";
    size_t length = sizeof before - 1;
    return strcmp(want.api, "responses") || ((size_t)(at - in) >= length && !memcmp(at - length, before, length));
}

// Count the tokens in what has come; gives how much of it they take.
static size_t count_tokens(stream *s, size_t size, uint64_t now) {
    size_t used = 0;
    for (char *p = in; (p = memchr(p, '@', size - (size_t)(p - in))); p++) {
        if (size - (size_t)(p - in) < STAMP_DIGITS + 2) break;
        if ((p[1] != 'c' && p[1] != 'r') || !is_new(p)) continue;
        uint64_t stamp = 0;
        int digits = 0;
        for (; digits < STAMP_DIGITS && p[2 + digits] >= '0' && p[2 + digits] <= '9'; digits++)
            stamp = stamp * 10 + (uint64_t)(p[2 + digits] - '0');
        if (digits < STAMP_DIGITS) continue;
        if (delay_count < most_delays) delays[delay_count++] = tenths(stamp, now);
        if (p[1] == 'c') s->content++;
        else s->thoughts++;
        if (!s->first) firsts[first_count++] = tenths(s->asked, s->first = now);
        if (!first_token) first_token = now;
        last_token = now;
        used = (size_t)(p - in) + STAMP_DIGITS + 2;
    }
    return used;
}

static void read_stream(stream *s) {
    memcpy(in, s->rest, s->carried);
    ssize_t n = recv(s->fd, in + s->carried, sizeof in - s->carried - 1, 0);
    uint64_t now = now_ns();
    if (n < 0 && errno == EAGAIN) return;
    bool closed = n <= 0;
    size_t size = s->carried + (closed ? 0 : (size_t)n);
    in[size] = 0;
    if (!s->status && size >= 12 && !memcmp(in, "HTTP/1.1 ", 9)) s->status = atoi(in + 9);
    size_t used = count_tokens(s, size, now);
    if (s->content >= want.content || closed) {
        const char *last = strcmp(want.api, "responses") ? "[DONE]" : "event: response.completed";
        s->done |= memmem(in + used, size - used, last, strlen(last)) != NULL;
        s->terminated |= memmem(in, size, "\r\n0\r\n\r\n", 7) != NULL;
    }
    if (closed || (s->done && s->terminated) || (s->status && s->status != 200)) {
        if (s->status != 200 && failed < 2) fprintf(stderr, "status %d: %.300s\n", s->status, in);
        end(s, s->status != 200             ? (s->status ? &refused : &broken)
               : s->content != want.content ? &cut_short
               : !s->done                   ? &endless
                                            : NULL);
        return;
    }
    // The last bytes may be the beginning of a token, or of the end.
    s->carried = size - used < LONGEST_REST ? size - used : LONGEST_REST;
    memmove(s->rest, in + size - s->carried, s->carried);
}

static void print_result(uint64_t began) {
    double mean = 0, seconds = (double)(last_token - first_token) / 1e9;
    for (size_t i = 0; i < delay_count; i++) mean += delays[i] / 10.0;
    qsort(delays, delay_count, sizeof *delays, in_order);
    qsort(firsts, first_count, sizeof *firsts, in_order);
    printf(
        "{\"streams\":%d,\"events\":%zu,\"seconds\":%.3f,\"events_per_second\":%.0f,\"mean_us\":%.1f,\"p50_us\":%.1f,"
        "\"p99_us\":%.1f,\"max_us\":%.1f,\"first_p50_us\":%.1f,\"first_p99_us\":%.1f,\"failed\":%d,\"refused\":%d,"
        "\"broken\":%d,\"cut_short\":%d,\"endless\":%d,\"unfinished\":%d}\n",
        want.streams, delay_count, (double)(now_ns() - began) / 1e9, seconds > 0 ? (double)delay_count / seconds : 0.0,
        delay_count ? mean / (double)delay_count : -1, share(delays, delay_count, .5), share(delays, delay_count, .99),
        share(delays, delay_count, 1), share(firsts, first_count, .5), share(firsts, first_count, .99), failed, refused,
        broken, cut_short, endless, want.streams - finished);
}

int main(int count, char **options) {
    for (int i = 1; i < count; i++) read_option(options[i]);
    struct epoll_event events[1024];
    stream *streams = needed(calloc((size_t)want.streams, sizeof *streams));
    most_delays = (size_t)want.streams * (size_t)(want.content + want.thoughts);
    delays = needed(malloc((most_delays + 1) * sizeof *delays));
    firsts = needed(malloc((size_t)want.streams * sizeof *firsts));
    epoll_fd = epoll_create1(0);
    run = now_ns() / 1000;
    uint64_t began = now_ns(), over = began + (uint64_t)want.timeout_s * 1000000000ull;
    for (int started = 0; finished < want.streams && now_ns() < over;) {
        uint64_t wait = 50000000ull;
        for (; started < want.streams; started++) {
            uint64_t due = began + (uint64_t)want.ramp_ms * 1000000ull * (uint64_t)started / (uint64_t)want.streams;
            uint64_t now = now_ns();
            if (due > now) {
                wait = due - now < wait ? due - now : wait;
                break;
            }
            begin(streams + started, started);
        }
        struct timespec time = {0, (long)wait};
        int ready = epoll_pwait2(epoll_fd, events, 1024, &time, NULL);
        for (int i = 0; i < ready; i++) {
            stream *s = streams + events[i].data.u32;
            if (s->state == CONNECTING && events[i].events & (EPOLLERR | EPOLLHUP)) end(s, &broken);
            else if (s->state == CONNECTING && events[i].events & EPOLLOUT) ask(s, (int)events[i].data.u32);
            else if (s->state == READING) read_stream(s);
        }
    }
    print_result(began);
    return 0;
}
