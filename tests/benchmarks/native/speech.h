// What the mock says in a turn.
#pragma once
#include "streams.h"

// A turn over REST, as in tests/runs/plain-answer.sse

#define STREAM_HEAD                                                                                                    \
    "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncache-control: no-cache\r\ncontent-type: text/event-stream; "               \
    "charset=utf-8\r\n"                                                                                                \
    "transfer-encoding: chunked\r\n\r\n"
#define RUN_ID "\"run_id\":\"run-30781a46-c875-44a9-b93e-c3343e593e31\""
#define MESSAGE(kind, otid)                                                                                            \
    "data: {\"id\":\"message-31147148-ec8c-454a-9c67-%012d\",\"date\":\"2026-11-21T01:49:45+00:00\",\"name\":null,"    \
    "\"message_type\":\"" kind "\",\"otid\":\"31147148-ec8c-454a-9c67-c0e503d2348" otid "\",\"sender_id\":null,"       \
    "\"step_id\":\"step-ddb9ac20-ca1c-41c5-9198-568810867640\",\"is_err\":null,\"seq_id\":null," RUN_ID ","

static void begin_rest(stream *s) {
    append(&s->to->out, STREAM_HEAD, sizeof STREAM_HEAD - 1);
    say(s->to,
        "data: {\"id\":\"ping-ff99381d-7318-4489-9d2e-%012d\",\"date\":\"2026-11-21T01:49:45+00:00\",\"name\":null,"
        "\"message_type\":\"ping\",\"otid\":null,\"sender_id\":null,\"step_id\":null,\"is_err\":null,\"seq_id\":"
        "null," RUN_ID "}\n\n",
        s->number);
}

static void think_rest(stream *s, unsigned long long now) {
    say(s->to,
        MESSAGE("reasoning_message",
                "0") "\"source\":\"reasoner_model\",\"reasoning\":\" @r%0*llu\",\"signature\":null}\n\n",
        s->number, STAMP_DIGITS, now);
}

static void speak_rest(stream *s, unsigned long long now) {
    say(s->to, MESSAGE("assistant_message", "1") "\"content\":\" @c%0*llu\"}\n\n", s->number, STAMP_DIGITS, now);
}

static void finish_rest(stream *s) {
    int said = s->content + s->thoughts;
    say(s->to, "data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"}\n\n");
    say(s->to,
        "data: "
        "{\"message_type\":\"usage_statistics\",\"completion_tokens\":%d,\"prompt_tokens\":1234,\"total_tokens\":%d,"
        "\"step_count\":1,\"run_ids\":null,\"cached_input_tokens\":null,\"cache_write_tokens\":null,"
        "\"reasoning_tokens\":%d,\"context_tokens\":1234}\n\n",
        said, said + 1234, s->thoughts);
    say(s->to, "data: [DONE]\n\n");
    append(&s->to->out, "0\r\n\r\n", 5);
}

// The same on an App Server, as in tests/runs/app-server/plain-answer.jsonl

#define ABOUT(kind)                                                                                                    \
    "\"runtime\":{\"agent_id\":\"%s\",\"conversation_id\":\"%s\"},\"event_seq\":%d,\"emitted_at\":"                    \
    "\"2026-11-21T01:55:40.701Z\",\"idempotency_key\":\"" kind ":%d:99b3e9f6-9692-4a35-b3f1-c49674e3ecfd\"}"
#define OF(s, seq) s->agent, s->conversation, seq, seq
#define DELTA(kind, id)                                                                                                \
    "{\"type\":\"stream_delta\",\"delta\":{\"id\":\"ui-msg-6:" id "\",\"date\":\"2026-11-21T01:55:40.697Z\","          \
    "\"agent_id\":\"%s\",\"conversation_id\":\"%s\",\"message_type\":\"" kind "\","
#define DELTA_END "\"run_id\":\"local-run-%d\",\"seq_id\":%d,\"type\":\"message\"}," ABOUT("stream_delta")

static void tell_loop(stream *s, const char *status, int seq) {
    say(s->to,
        "{\"type\":\"update_loop_status\",\"loop_status\":{\"status\":\"%s\",\"active_run_ids\":[],"
        "\"executing_tool_call_ids\":[]}," ABOUT("update_loop_status"),
        status, OF(s, seq));
}

// The state of the loop, once a run has taken the message; `active` is that run, in quotes, or nothing.
static void tell_run(stream *s, const char *status, const char *active, int seq) {
    say(s->to,
        "{\"type\":\"update_loop_status\",\"loop_status\":{\"status\":\"%s\",\"active_run_ids\":[%s],"
        "\"client_message_ids_by_run_id\":{\"local-run-%d\":[\"%s\"]},\"executing_tool_call_ids\":[]}," ABOUT(
            "update_loop_status"),
        status, active, s->number, s->message, OF(s, seq));
}

static void begin_app_server(stream *s) {
    char active[32];
    sprintf(active, "\"local-run-%d\"", s->number);
    tell_loop(s, "SENDING_API_REQUEST", 1);
    tell_loop(s, "SENDING_API_REQUEST", 4);
    say(s->to, "{\"type\":\"update_queue\",\"queue\":[],\"removed\":[]," ABOUT("update_queue"), OF(s, 5));
    tell_loop(s, "WAITING_FOR_API_RESPONSE", 7);
    tell_loop(s, "PROCESSING_API_RESPONSE", 8);
    tell_run(s, "PROCESSING_API_RESPONSE", active, 9);
}

static void think_app_server(stream *s, unsigned long long now) {
    say(s->to, DELTA("reasoning_message", "reasoning:0") "\"reasoning\":\" @r%0*llu\"," DELTA_END, s->agent,
        s->conversation, STAMP_DIGITS, now, s->number, s->position, OF(s, s->position + 9));
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
                                           "\"cached_input_tokens\":0,\"cache_write_tokens\":0,\"reasoning_tokens\":%d,"
                                           "\"context_tokens\":1234," DELTA_END,
        s->agent, s->conversation, said, said + 1234, s->thoughts, s->number, said + 1, OF(s, seq));
    say(s->to,
        "{\"type\":\"stream_delta\",\"delta\":{\"message_type\":\"stop_reason\",\"stop_reason\":\"end_"
        "turn\"," DELTA_END,
        s->number, said + 2, OF(s, seq + 1));
    tell_run(s, "WAITING_ON_INPUT", "", seq + 2);
    say(s->to,
        "{\"type\":\"turn_finished\",\"turn_id\":\"turn-7b529ad5-18d7-42eb-9697-e7ffe019992a\",\"stop_reason\":\"end_"
        "turn\","
        "\"run_id\":\"local-run-%d\"," ABOUT("turn_finished"),
        s->number, OF(s, seq + 4));
}
