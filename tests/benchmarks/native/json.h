// Reading JSON, without a look at whether it is any: the clients of a benchmark write it without a fault.
#pragma once
#include "wire.h"

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
