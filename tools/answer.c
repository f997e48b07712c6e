#include "tools/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/json_text.h"

#include "runtime/token2wav/token2wav.h"

static sa2_status take_tool(sa2_answer *a, const sa2_event *e, sa2_error *err)
{
    if (a->tools == NULL)
        a->tools = json_array();
    json_t *call = json_pack("{s:s, s:s}", "name", e->tool_name, "arguments", e->tool_arguments);
    if (a->tools == NULL || call == NULL || json_array_append_new(a->tools, call) != 0)
        return sa2_fail(err, SA2_ERR_NOMEM, "answer: no memory for a tool call");
    return SA2_OK;
}

/* The bytes of a token as JSON text; where they are no text by themselves, an array of numbers. */
static json_t *token_json(const sa2_tokenizer *tokenizer, int32_t id)
{
    sa2_token token;
    if (!sa2_tokenizer_token(tokenizer, id, &token))
        return json_null();
    json_t *text = json_stringn(token.bytes, token.n);
    if (text != NULL)
        return text;
    json_t *bytes = json_array();
    for (size_t i = 0; i < token.n; i++)
        json_array_append_new(bytes, json_integer((unsigned char)token.bytes[i]));
    return bytes;
}

static json_t *logprob_json(const sa2_tokenizer *tokenizer, int32_t id, float logprob)
{
    return json_pack("{s:i, s:o, s:f}", "id", (int)id, "token", token_json(tokenizer, id),
                     "logprob", (double)logprob);
}

static sa2_status take_token(sa2_answer *a, const sa2_event *e, const sa2_tokenizer *tokenizer,
                             sa2_error *err)
{
    if (isnan(e->logprob))
        return SA2_OK; /* the id alone was asked for: it comes again with the end */
    json_t *entry = logprob_json(tokenizer, e->id, e->logprob);
    json_t *top = json_array();
    for (size_t i = 0; i < e->n_top; i++)
        json_array_append_new(top, logprob_json(tokenizer, e->top[i].id, e->top[i].logprob));
    json_object_set_new(entry, "top", top);
    if (a->logprobs == NULL)
        a->logprobs = json_array();
    if (json_array_append_new(a->logprobs, entry) != 0)
        return sa2_fail(err, SA2_ERR_NOMEM, "answer: no memory for log-probabilities");
    return SA2_OK;
}

sa2_status sa2_answer_take(sa2_answer *a, const sa2_event *e, const sa2_tokenizer *tokenizer,
                           sa2_error *err)
{
    sa2_status st = SA2_OK;
    switch (e->kind) {
    case SA2_EVENT_NONE:
        break;
    case SA2_EVENT_TEXT:
        sa2_bytes_append(&a->text, e->text, e->n_bytes);
        break;
    case SA2_EVENT_REASONING:
        sa2_bytes_append(&a->reasoning, e->text, e->n_bytes);
        break;
    case SA2_EVENT_SPOKEN:
        sa2_bytes_append(&a->spoken, e->text, e->n_bytes);
        break;
    case SA2_EVENT_CODES:
        sa2_ids_append_all(&a->codes, e->codes, e->n_codes);
        break;
    case SA2_EVENT_AUDIO:
        a->n_samples += (int64_t)e->n_samples;
        break;
    case SA2_EVENT_TOOL_CALL:
        st = take_tool(a, e, err);
        break;
    case SA2_EVENT_TOKEN:
        st = take_token(a, e, tokenizer, err);
        break;
    case SA2_EVENT_FINISHED:
        a->finished = true;
        a->finish = e->finish;
        sa2_ids_append_all(&a->ids, e->ids, e->n_ids);
        if (e->stop_string != NULL)
            a->stop_string = strdup(e->stop_string);
        break;
    case SA2_EVENT_DONE:
        a->done = true;
        if (!a->finished)
            a->finish = e->finish;
        a->usage = e->usage;
        a->timings = e->timings;
        a->status = e->status;
        if (e->message != NULL)
            a->message = strdup(e->message);
        break;
    }
    if (a->text.failed || a->reasoning.failed || a->spoken.failed || a->codes.failed ||
        a->ids.failed)
        st = sa2_fail(err, SA2_ERR_NOMEM, "answer: no memory for its text");
    return st;
}

void sa2_answer_free(sa2_answer *a)
{
    sa2_bytes_free(&a->text);
    sa2_bytes_free(&a->reasoning);
    sa2_bytes_free(&a->spoken);
    sa2_ids_free(&a->codes);
    sa2_ids_free(&a->ids);
    json_decref(a->tools);
    json_decref(a->logprobs);
    free(a->stop_string);
    free(a->message);
    *a = (sa2_answer){0};
}

static json_t *ids_json(const sa2_ids *ids)
{
    json_t *array = json_array();
    for (size_t i = 0; i < ids->n; i++)
        json_array_append_new(array, json_integer(ids->data[i]));
    return array;
}

static void set_text(json_t *object, const char *key, const sa2_bytes *text)
{
    if (text->n > 0)
        json_object_set_new(object, key, json_stringn(text->data, text->n));
}

json_t *sa2_answer_json(const sa2_answer *a)
{
    json_t *o = json_pack("{s:s%}", "text", sa2_bytes_text(&a->text), a->text.n);
    if (o == NULL)
        return NULL;
    set_text(o, "reasoning", &a->reasoning);
    set_text(o, "spoken", &a->spoken);
    if (a->codes.n > 0)
        json_object_set_new(o, "codes", ids_json(&a->codes));
    if (a->tools != NULL)
        json_object_set(o, "tool_calls", a->tools);
    if (a->logprobs != NULL)
        json_object_set(o, "logprobs", a->logprobs);
    json_object_set_new(o, "ids", ids_json(&a->ids));
    json_object_set_new(o, "finish_reason", json_string(sa2_finish_name(a->finish)));
    if (a->stop_string != NULL)
        json_object_set_new(o, "stop_reason", sa2_json_text(a->stop_string));
    if (a->message != NULL)
        json_object_set_new(o, "error", sa2_json_text(a->message));
    if (a->n_samples > 0)
        json_object_set_new(o, "audio_seconds", json_real((double)a->n_samples / SA2_SPEECH_RATE));
    const sa2_usage *u = &a->usage;
    json_object_set_new(o, "usage",
                        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "prompt_tokens",
                                  u->prompt_tokens, "cached_tokens", u->cached_tokens,
                                  "audio_tokens", u->audio_tokens, "completion_tokens",
                                  u->completion_tokens, "speech_tokens", u->speech_tokens,
                                  "reasoning_tokens", u->reasoning_tokens));
    const sa2_timings *t = &a->timings;
    json_object_set_new(o, "timings",
                        json_pack("{s:f, s:f, s:f, s:f, s:f, s:i, s:i}", "started_ms",
                                  t->started_ms, "encoded_ms", t->encoded_ms, "first_token_ms",
                                  t->first_token_ms, "first_audio_ms", t->first_audio_ms, "done_ms",
                                  t->done_ms, "steps", t->n_steps, "preemptions",
                                  t->n_preemptions));
    return o;
}
