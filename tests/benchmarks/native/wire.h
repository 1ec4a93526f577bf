// What both programs share, and what the mock needs to read JSON and to speak over a WebSocket.
#pragma once
#define _GNU_SOURCE
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

// JSON, without a look at whether it is any. The clients of a benchmark write it without a fault.

static inline const char *after_string(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++) p += *p == '\\';
    return p + 1;
}

static inline const char *after_value(const char *p, const char *end) {
    int depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = after_string(p, end);
            if (!depth) return p;
            continue;
        }
        if (*p == '{' || *p == '[') depth++;
        if (*p == '}' || *p == ']') {
            if (!depth) return p;
            if (!--depth) return p + 1;
        }
        if (*p == ',' && !depth) return p;
        p++;
    }
    return p;
}

static inline const char *after_blank(const char *p, const char *end) {
    while (p < end && strchr(" \t\r\n,:", *p)) p++;
    return p;
}

// The raw value of a key of an object; nothing where there is none.
static inline span field(span object, const char *key) {
    const char *p = object.at, *end = p + object.size;
    if (!object.size || *p != '{') return (span){0};
    for (p = after_blank(p + 1, end); p < end && *p == '"'; p = after_blank(p, end)) {
        span name = {p + 1, 0};
        p = after_string(p, end);
        name.size = (size_t)(p - 1 - name.at);
        p = after_blank(p, end);
        span value = {p, 0};
        p = after_value(p, end);
        value.size = (size_t)(p - value.at);
        if (same(name, key)) return value;
    }
    return (span){0};
}

// A text without its quotes; escapes stay as they are.
static inline span text_of(span value) {
    return value.size >= 2 && *value.at == '"' ? (span){value.at + 1, value.size - 2} : value;
}

// https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2: what a server answers to a client's key

static inline uint32_t turned(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }

static inline void sha1_block(uint32_t h[5], const unsigned char *p) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
        uint32_t t = turned(a, 5) + f + e + k + w[i];
        e = d, d = c, c = turned(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

// `accept` takes 28 characters and a zero. A key has 24 characters, so that all of it fits into two blocks.
static inline void accept_key(span key, char accept[29]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char blocks[128] = {0}, digest[21] = {0};
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    int size = snprintf((char *)blocks, 64, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)(key.size & 31), key.at);
    blocks[size] = 0x80;
    blocks[126] = (unsigned char)(size >> 5);
    blocks[127] = (unsigned char)(size << 3);
    sha1_block(h, blocks);
    sha1_block(h, blocks + 64);
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++) accept[4 * i + j] = alphabet[three >> (18 - 6 * j) & 63];
    }
    accept[27] = '=';
    accept[28] = 0;
}
