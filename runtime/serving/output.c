#include "runtime/serving/output.h"

#include <string.h>

static bool contains(sa2_token_list list, int32_t id)
{
    for (int i = 0; i < list.n; i++)
        if (list.ids[i] == id)
            return true;
    return false;
}

/* ---- where text goes ---- */

static void tell_content(void *context, const char *text, size_t n)
{
    sa2_output *output = context;
    sa2_event_log_text(output->log, SA2_EVENT_TEXT, output->choice, text, n);
}

static void tell_call(void *context, int index, const char *name, const char *arguments)
{
    sa2_output *output = context;
    sa2_event_log_tool_call(output->log, output->choice, index, name, arguments);
}

static void take_spoken(void *context, const char *text, size_t n)
{
    sa2_output *output = context;
    sa2_event_log_text(output->log, SA2_EVENT_SPOKEN, output->choice, text, n);
}

static void take_reasoning(void *context, const char *text, size_t n)
{
    sa2_output *output = context;
    sa2_event_log_text(output->log, SA2_EVENT_REASONING, output->choice, text, n);
    sa2_output_record *record = &output->record;
    size_t left = record->room - record->n;
    if (n > left)
        n = left; /* the log is as large and has noticed */
    memcpy(record->text + record->n, text, n);
    record->n += n;
}

static void take_other(void *context, const char *text, size_t n)
{
    sa2_output *output = context;
    if (output->rules->reasoning)
        take_reasoning(context, text, n);
    else
        sa2_tool_parser_text(&output->tools, text, n);
}

/* ---- channels ---- */

static void finish_by_string(sa2_output *output, const sa2_stop_text *stop)
{
    output->finished = true;
    output->finish = SA2_FINISH_STOP;
    output->stop_string = output->rules->stop.strings[stop->match];
}

/* Text of one channel, past its stop strings. */
static void push_text(sa2_output *output, bool spoken, const sa2_bytes *text)
{
    if (text->n == 0 || output->finished)
        return;
    sa2_stop_text *stop = spoken ? &output->spoken_stop : &output->other_stop;
    sa2_stop_sink sink = spoken ? take_spoken : take_other;
    if (output->n_generated <= output->rules->min_tokens)
        sink(output, text->data, text->n);
    else if (sa2_stop_text_push(stop, &output->rules->stop, text->data, text->n, sink, output))
        finish_by_string(output, stop);
}

static void push_id(sa2_output *output, bool spoken, int32_t id, sa2_bytes *scratch)
{
    sa2_bytes_clear(scratch);
    sa2_text_stream_push_id(spoken ? &output->spoken_text : &output->other_text,
                            output->rules->tokenizer, id, !output->rules->keep_special, scratch);
    push_text(output, spoken, scratch);
}

static void flush_text(sa2_output *output, bool spoken, sa2_bytes *scratch)
{
    sa2_bytes_clear(scratch);
    sa2_text_stream_flush(spoken ? &output->spoken_text : &output->other_text, scratch);
    push_text(output, spoken, scratch);
}

/* <tool_call> and </tool_call>: text for stop strings, a tag for the parser. */
static void push_tag(sa2_output *output, int32_t id, sa2_bytes *scratch)
{
    flush_text(output, false, scratch);
    sa2_token token;
    if (output->finished || !sa2_tokenizer_token(output->rules->tokenizer, id, &token))
        return;
    if (output->n_generated > output->rules->min_tokens &&
        sa2_stop_text_push_silent(&output->other_stop, &output->rules->stop, token.bytes, token.n,
                                  take_other, output)) {
        finish_by_string(output, &output->other_stop);
        return;
    }
    if (id == output->rules->special->tool_call_begin) {
        sa2_tool_parser_begin_tag(&output->tools);
        return;
    }
    sa2_tool_parser_end_tag(&output->tools);
    if (output->rules->one_tool_call && output->tools.n_calls > 0) {
        output->finished = true;
        output->finish = SA2_FINISH_TOOL_CALLS;
    }
}

static void push_code(sa2_output *output, int32_t code)
{
    sa2_event_log_code(output->log, output->choice, code);
    output->n_speech++;
    if (output->speech == NULL)
        return;
    sa2_speech_push(output->speech, &code, 1, NULL); /* has room: the answer ends when it is full */
    if (sa2_speech_full(output->speech)) {
        output->finished = true;
        output->finish = SA2_FINISH_LENGTH;
    }
}

static void push_content(sa2_output *output, int32_t id, sa2_bytes *scratch)
{
    const sa2_special *special = output->rules->special;
    if (output->rules->reasoning) {
        push_id(output, false, id, scratch);
        return;
    }
    switch (sa2_ta4_split(&output->section, special, id)) {
    case SA2_TA4_NOTHING:
        break;
    case SA2_TA4_TEXT:
        push_id(output, true, id, scratch);
        break;
    case SA2_TA4_CODE:
        push_code(output, id - special->speech_first);
        break;
    case SA2_TA4_OTHER:
        if (id == special->tool_call_begin || id == special->tool_call_end)
            push_tag(output, id, scratch);
        else
            push_id(output, false, id, scratch);
        break;
    }
}

/* ---- the answer ---- */

void sa2_output_begin(sa2_output *output, const sa2_output_rules *rules)
{
    output->rules = rules;
    sa2_ta4_splitter_init(&output->section, rules->spoken);
    output->spoken_text = output->other_text = (sa2_text_stream){0};
    output->spoken_stop = output->other_stop = (sa2_stop_text){0};
    sa2_tool_events events = {tell_content, tell_call, output};
    sa2_tool_parser_free(&output->tools);
    sa2_tool_parser_init(&output->tools, events, rules->tool_names, rules->n_tool_names);
    output->n_generated = output->n_speech = 0;
    output->finished = false;
    output->stop_string = NULL;
    output->stop_id = -1;
}

void sa2_output_free(sa2_output *output)
{
    sa2_tool_parser_free(&output->tools);
}

/* What is still held back, unless a stop string has cut it off. */
static sa2_status flush(sa2_output *output, sa2_bytes *scratch, sa2_error *err)
{
    if (output->stop_string == NULL && output->rules->tokenizer != NULL) {
        bool finished = output->finished;
        output->finished = false; /* the last character may still complete a stop string */
        flush_text(output, true, scratch);
        flush_text(output, false, scratch);
        output->finished = finished || output->finished;
        if (output->stop_string == NULL) {
            sa2_stop_text_flush(&output->spoken_stop, take_spoken, output);
            sa2_stop_text_flush(&output->other_stop, take_other, output);
        }
    }
    sa2_status st = sa2_tool_parser_finish(&output->tools, err);
    if (st != SA2_OK)
        return st;
    if (output->finish == SA2_FINISH_STOP && output->tools.n_calls > 0)
        output->finish = SA2_FINISH_TOOL_CALLS;
    st = sa2_bytes_status(scratch, err);
    if (st == SA2_OK && output->log->full)
        st = sa2_fail(err, SA2_ERR_NOMEM, "answer: its text has outgrown the %zu bytes planned",
                      output->log->room.text);
    return st;
}

sa2_status sa2_output_push(sa2_output *output, sa2_logprob token, const sa2_logprob *top,
                           sa2_bytes *scratch, sa2_error *err)
{
    const sa2_output_rules *rules = output->rules;
    output->n_generated++;
    if (rules->tell_tokens)
        sa2_event_log_token(output->log, output->choice, token, top);
    bool own = contains(rules->end_ids, token.id), asked = contains(rules->stop_ids, token.id);
    if (own || asked) {
        output->finished = true;
        output->finish = SA2_FINISH_STOP;
        output->stop_id = own ? -1 : token.id;
    } else if (rules->tokenizer != NULL) {
        push_content(output, token.id, scratch);
    }
    if (!output->finished && output->n_generated >= rules->max_tokens) {
        output->finished = true;
        output->finish = SA2_FINISH_LENGTH;
    }
    return output->finished ? flush(output, scratch, err) : SA2_OK;
}

sa2_status sa2_output_end(sa2_output *output, sa2_finish finish, sa2_bytes *scratch, sa2_error *err)
{
    output->finished = true;
    output->finish = finish;
    return flush(output, scratch, err);
}
