// The agents that the mock has been asked to make.
#pragma once
#include "json.h"

typedef struct {
    int number;
    bool rest;
    span tags, metadata;
} agent;

static agent *agents;
static size_t agent_count;

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
    *a = (agent){(int)agent_count, rest, kept(tags.at ? tags : (span){"[]", 2}),
                 kept(metadata.at ? metadata : (span){"{}", 2})};
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
        write_text(
            b,
            "{\"id\":\"agent-0d1e2f3a-4b5c-4d6e-8f70-%012d\",\"name\":\"bench\",\"agent_type\":\"letta_v1_agent\","
            "\"created_at\":\"2026-11-21T01:30:%02d.%06dZ\",\"model\":\"openai/gpt-4o-mini\",\"model_settings\":"
            "{\"provider_type\":\"openai\",\"temperature\":null,\"parallel_tool_calls\":false},\"blocks\":[],"
            "\"tools\":[],\"tags\":%s,\"metadata\":%s}",
            a->number, a->number / 1000000, a->number % 1000000, a->tags.at, a->metadata.at);
    else
        write_text(
            b,
            "{\"id\":\"agent-local-eda8cc00-de72-43f0-bcee-%012d\",\"name\":\"bench\",\"model\":\"openai/gpt-4o-mini\","
            "\"tags\":%s}",
            a->number, a->tags.at);
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
