#include "runtime/serving/event_log.h"

#include <string.h>

/* The last run when it is of this kind and nobody took it, else a new one; NULL: no room. */
static sa2_event_run *open_run(sa2_event_log *log, sa2_event_kind kind, int choice, size_t first)
{
    if (log->n_runs > log->next) {
        sa2_event_run *last = &log->runs[log->n_runs - 1];
        if (last->kind == kind && last->choice == choice)
            return last;
    }
    if (log->n_runs == log->room.runs) {
        log->full = true;
        return NULL;
    }
    sa2_event_run *run = &log->runs[log->n_runs++];
    *run =
        (sa2_event_run){.kind = (uint8_t)kind, .choice = (uint8_t)choice, .first = (int64_t)first};
    return run;
}

static bool has_text_room(sa2_event_log *log, size_t n)
{
    if (n < log->room.text - log->n_text)
        return true;
    log->full = true;
    return false;
}

static void put_text(sa2_event_log *log, const char *text, size_t n)
{
    memcpy(log->text + log->n_text, text, n);
    log->n_text += n;
}

void sa2_event_log_text(sa2_event_log *log, sa2_event_kind kind, int choice, const char *text,
                        size_t n)
{
    if (n == 0 || !has_text_room(log, n + 1))
        return;
    sa2_event_run *run = open_run(log, kind, choice, log->n_text);
    if (run == NULL)
        return;
    if (run->n > 0)
        log->n_text--; /* goes on where its 0 is */
    put_text(log, text, n);
    log->text[log->n_text++] = '\0';
    run->n += (int32_t)n;
}

void sa2_event_log_code(sa2_event_log *log, int choice, int32_t code)
{
    if (log->n_codes == log->room.codes) {
        log->full = true;
        return;
    }
    sa2_event_run *run = open_run(log, SA2_EVENT_CODES, choice, log->n_codes);
    if (run == NULL)
        return;
    log->codes[log->n_codes++] = code;
    run->n++;
}

void sa2_event_log_samples(sa2_event_log *log, int choice, const float *samples, size_t n)
{
    if (n > log->room.samples - log->n_samples) {
        log->full = true;
        return;
    }
    sa2_event_run *run = open_run(log, SA2_EVENT_AUDIO, choice, log->n_samples);
    if (run == NULL)
        return;
    memcpy(log->samples + log->n_samples, samples, n * sizeof *samples);
    log->n_samples += n;
    run->n += (int32_t)n;
}

void sa2_event_log_token(sa2_event_log *log, int choice, sa2_logprob token, const sa2_logprob *top)
{
    if (log->n_tokens == log->room.tokens) {
        log->full = true;
        return;
    }
    sa2_event_run *run = open_run(log, SA2_EVENT_TOKEN, choice, log->n_tokens);
    if (run == NULL)
        return;
    size_t n_top = (size_t)log->room.n_top;
    if (n_top > 0)
        memcpy(log->top + log->n_tokens * n_top, top, n_top * sizeof *top);
    log->tokens[log->n_tokens++] = token;
    run->n++;
}

void sa2_event_log_tool_call(sa2_event_log *log, int choice, int index, const char *name,
                             const char *arguments)
{
    size_t n_name = strlen(name) + 1, n_arguments = strlen(arguments) + 1;
    if (log->n_runs == log->room.runs || !has_text_room(log, n_name + n_arguments)) {
        log->full = true;
        return;
    }
    log->runs[log->n_runs++] = (sa2_event_run){.kind = SA2_EVENT_TOOL_CALL,
                                               .choice = (uint8_t)choice,
                                               .tool_index = (uint16_t)index,
                                               .first = (int64_t)log->n_text};
    put_text(log, name, n_name);
    put_text(log, arguments, n_arguments);
}

void sa2_event_log_mark(sa2_event_log *log, sa2_event_kind kind, int choice)
{
    log->runs[log->n_runs++] = (sa2_event_run){.kind = (uint8_t)kind, .choice = (uint8_t)choice};
}

bool sa2_event_log_take(sa2_event_log *log, sa2_event *event)
{
    if (log->next == log->n_runs)
        return false;
    sa2_event_run *run = &log->runs[log->next];
    event->kind = (sa2_event_kind)run->kind;
    event->choice = run->choice;
    switch (event->kind) {
    case SA2_EVENT_TEXT:
    case SA2_EVENT_REASONING:
    case SA2_EVENT_SPOKEN:
        event->text = log->text + run->first;
        event->n_bytes = (size_t)run->n;
        break;
    case SA2_EVENT_CODES:
        event->codes = log->codes + run->first;
        event->n_codes = (size_t)run->n;
        break;
    case SA2_EVENT_AUDIO:
        event->samples = log->samples + run->first;
        event->n_samples = (size_t)run->n;
        break;
    case SA2_EVENT_TOOL_CALL:
        event->tool_index = run->tool_index;
        event->tool_name = log->text + run->first;
        event->tool_arguments = event->tool_name + strlen(event->tool_name) + 1;
        break;
    case SA2_EVENT_TOKEN:
        event->id = log->tokens[run->first].id;
        event->logprob = log->tokens[run->first].logprob;
        event->n_top = (size_t)log->room.n_top;
        event->top = log->top + (size_t)run->first * event->n_top;
        run->first++;
        if (--run->n > 0)
            return true; /* one token an event */
        break;
    default:
        break;
    }
    log->next++;
    return true;
}
