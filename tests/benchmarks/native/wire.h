// Bytes, texts and the clock, for both programs.
#pragma once
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Every token is a text " @c" or " @r" (content, or reasoning) and these digits: the time at which the mock wrote it.
#define STAMP_DIGITS 19

typedef struct {
    const char *at;
    size_t size;
} span;

typedef struct {
    char *at;
    size_t size, room;
} buffer;

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline void *needed(void *memory) {
    if (!memory) {
        perror("memory");
        exit(1);
    }
    return memory;
}

// Make room for `more` bytes after those that are there, and for a zero behind them.
static inline char *make_room(buffer *b, size_t more) {
    if (b->size + more + 1 > b->room) {
        b->room = (b->size + more + 1) * 2;
        b->at = needed(realloc(b->at, b->room));
    }
    return b->at + b->size;
}

static inline void append(buffer *b, const void *bytes, size_t size) {
    memcpy(make_room(b, size), bytes, size);
    b->size += size;
}

__attribute__((format(printf, 2, 3))) static inline void write_text(buffer *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    make_room(b, (size_t)size);
    va_start(arguments, format);
    b->size += (size_t)vsnprintf(b->at + b->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
}

static inline void drop_front(buffer *b, size_t size) {
    b->size -= size;
    memmove(b->at, b->at + size, b->size);
}

static inline span kept(span s) {
    char *copy = needed(malloc(s.size + 1));
    memcpy(copy, s.at, s.size);
    copy[s.size] = 0;
    return (span){copy, s.size};
}

static inline bool starts(span s, const char *text) {
    size_t size = strlen(text);
    return s.size >= size && !memcmp(s.at, text, size);
}

static inline bool same(span s, const char *text) { return s.size == strlen(text) && starts(s, text); }
static inline bool holds(span s, const char *text) { return s.at && memmem(s.at, s.size, text, strlen(text)); }
