/* Cases of spoken answers: put together for the history, taken apart after generation. */
#include "tools/check_text_cases.h"

#include <string.h>

#include "tokenizer/ta4.h"
#include "tokenizer/text_stream.h"
#include "tokenizer/tool_call.h"

/* ---- history ---- */

static sa2_status check_rule(check_case *c, bool short_tail, const char *key, sa2_error *err)
{
    const char *text = NULL;
    const char *audio = NULL;
    size_t n_text = 0;
    size_t n_audio = 0;
    sa2_ids ids = {0};
    sa2_status st = check_read_text(c, "tts_text", &text, &n_text, err);
    if (st == SA2_OK)
        st = check_read_text(c, "tts_audio", &audio, &n_audio, err);
    if (st == SA2_OK)
        st = sa2_ta4_history(c->context->encoder, c->context->special, text, n_text, audio, n_audio,
                             short_tail, &ids, err);
    if (st == SA2_OK)
        st = check_same_ids(c, key, &ids, err);
    sa2_ids_free(&ids);
    return st;
}

sa2_status check_history(check_case *c, sa2_error *err)
{
    sa2_status st = check_rule(c, false, c->is_release ? "ids_mini" : "ids", err);
    const char *fork_key = c->is_release ? "ids_mini_fork" : "ids_fork";
    if (st == SA2_OK && json_object_get(c->line, fork_key) != NULL)
        st = check_rule(c, true, fork_key, err);
    return st;
}

/* ---- an answer as the engine takes it apart ---- */

typedef struct answer {
    check_case *c;
    sa2_bytes tts_text;
    sa2_bytes other;
    sa2_bytes content;
    sa2_ids codes;
    size_t n_calls;
} answer;

static void on_content(void *context, const char *text, size_t n)
{
    sa2_bytes_append(&((answer *)context)->content, text, n);
}

static void on_call(void *context, int index, const char *name, const char *arguments)
{
    answer *a = context;
    json_t *expected = json_array_get(json_object_get(a->c->line, "tool_calls"), (size_t)index);
    const char *wanted_name = json_string_value(json_object_get(expected, "name"));
    const char *wanted = json_string_value(json_object_get(expected, "arguments"));
    a->n_calls++;
    if (wanted_name == NULL || wanted == NULL)
        check_differs(a->c, "tool_calls[%d]: %s(%s) found, none expected", index, name, arguments);
    else if (strcmp(wanted_name, name) != 0 || strcmp(wanted, arguments) != 0)
        check_differs(a->c, "tool_calls[%d]: %s(%s) expected, %s(%s) found", index, wanted_name,
                      wanted, name, arguments);
}

static void take_other(answer *a, sa2_tool_parser *parser, sa2_text_stream *stream, int32_t id)
{
    const sa2_special *special = a->c->context->special;
    size_t before = a->other.n;
    bool begins = id == special->tool_call_begin;
    bool ends = id == special->tool_call_end;
    if (begins || ends) /* a character that was not finished ends here */
        sa2_text_stream_flush(stream, &a->other);
    size_t text_end = a->other.n;
    sa2_text_stream_push_id(stream, sa2_encoder_tokenizer(a->c->context->encoder), id, false,
                            &a->other);
    if (!begins && !ends)
        text_end = a->other.n;
    sa2_tool_parser_text(parser, sa2_bytes_text(&a->other) + before, text_end - before);
    if (begins)
        sa2_tool_parser_begin_tag(parser);
    if (ends)
        sa2_tool_parser_end_tag(parser);
}

static sa2_status take_apart(answer *a, const sa2_ids *ids, sa2_error *err)
{
    static const char *const tools[] = {"search", "get_time"}; /* those of the golden cases */
    const sa2_special *special = a->c->context->special;
    const sa2_tokenizer *tokenizer = sa2_encoder_tokenizer(a->c->context->encoder);
    sa2_tool_parser parser;
    sa2_ta4_splitter splitter;
    sa2_text_stream spoken = {0};
    sa2_text_stream other = {0};
    sa2_tool_parser_init(&parser, (sa2_tool_events){on_content, on_call, a}, tools, 2);
    sa2_ta4_splitter_init(&splitter, json_is_true(json_object_get(a->c->line, "spoken")));
    for (size_t i = 0; i < ids->n; i++) {
        int32_t id = ids->data[i];
        switch (sa2_ta4_split(&splitter, special, id)) {
        case SA2_TA4_TEXT:
            sa2_text_stream_push_id(&spoken, tokenizer, id, false, &a->tts_text);
            break;
        case SA2_TA4_CODE:
            sa2_ids_append(&a->codes, id - special->speech_first);
            break;
        case SA2_TA4_OTHER:
            take_other(a, &parser, &other, id);
            break;
        case SA2_TA4_NOTHING:
            break;
        }
    }
    size_t before = a->other.n;
    sa2_text_stream_flush(&spoken, &a->tts_text);
    sa2_text_stream_flush(&other, &a->other);
    sa2_tool_parser_text(&parser, sa2_bytes_text(&a->other) + before, a->other.n - before);
    sa2_status st = sa2_tool_parser_finish(&parser, err);
    sa2_tool_parser_free(&parser);
    return st;
}

sa2_status check_answer(check_case *c, sa2_error *err)
{
    answer a = {.c = c};
    sa2_ids ids = {0};
    sa2_status st = check_read_ids(c, "ids", &ids, err);
    if (st == SA2_OK)
        st = take_apart(&a, &ids, err);
    if (st == SA2_OK)
        st = check_same_text(c, "tts_text", &a.tts_text, err);
    if (st == SA2_OK)
        st = check_same_ids(c, "codes", &a.codes, err);
    if (st == SA2_OK)
        st = check_same_text(c, "other", &a.other, err);
    size_t n_calls = json_array_size(json_object_get(c->line, "tool_calls"));
    if (a.n_calls < n_calls)
        check_differs(c, "tool_calls: %zu expected, %zu found", n_calls, a.n_calls);
    /* Content is null where there are calls and nothing else. */
    if (st == SA2_OK && json_is_null(json_object_get(c->line, "content"))) {
        if (a.n_calls == 0 || a.content.n > 0)
            check_differs(c, "content: null expected, \"%.120s\" found",
                          sa2_bytes_text(&a.content));
    } else if (st == SA2_OK) {
        st = check_same_text(c, "content", &a.content, err);
    }
    sa2_bytes_free(&a.tts_text);
    sa2_bytes_free(&a.other);
    sa2_bytes_free(&a.content);
    sa2_ids_free(&a.codes);
    sa2_ids_free(&ids);
    return st;
}

/* ---- as the demo takes it apart: by number alone, padding is a code ---- */

sa2_status check_demo_answer(check_case *c, sa2_error *err)
{
    const sa2_special *special = c->context->special;
    sa2_ids ids = {0};
    sa2_ids text_ids = {0};
    sa2_ids codes = {0};
    sa2_bytes text = {0};
    sa2_status st = check_read_ids(c, "ids", &ids, err);
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.data[i] < special->audio_start)
            sa2_ids_append(&text_ids, ids.data[i]);
        else if (ids.data[i] >= special->speech_first)
            sa2_ids_append(&codes, ids.data[i] - special->speech_first);
    }
    if (st == SA2_OK)
        st = sa2_decode(sa2_encoder_tokenizer(c->context->encoder), text_ids.data, text_ids.n,
                        false, &text, err);
    if (st == SA2_OK)
        st = check_same_text(c, "text", &text, err);
    if (st == SA2_OK)
        st = check_same_ids(c, "codes", &codes, err);
    sa2_ids_free(&ids);
    sa2_ids_free(&text_ids);
    sa2_ids_free(&codes);
    sa2_bytes_free(&text);
    return st;
}
