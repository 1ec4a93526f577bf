// Connections of the mock, and the streams that go over them; the one that is due next is the first of a heap.
#pragma once
#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

// The most connections, by their numbers, and the most streams.
#define MOST 65536

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
    char agent[64], conversation[64], message[128];
} stream;

static conn *conns[MOST];
static stream *heap[MOST];
static size_t running;
static int epoll_fd, made;

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
    int n = sprintf(
        head, "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n",
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
