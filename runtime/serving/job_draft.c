#include "runtime/serving/job_draft.h"

#include <string.h>

#include "runtime/serving/request_check.h"
#include "tokenizer/think.h"

/* ---- lengths ---- */

/* The most positions of each sequence for which there are pages. */
static int positions_with_pages(const sa2_job_setting *s, int n_prompt, int n_sequences)
{
    int least = 0, most = s->prompt.max_model_len;
    while (least < most) {
        int middle = least + (most - least + 1) / 2;
        if (sa2_scheduler_pages(s->page_size, n_prompt, middle, n_sequences) <= s->n_pages)
            least = middle;
        else
            most = middle - 1;
    }
    return least;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* The ids of a given text, and that there is room for them. */
static sa2_status make_script(sa2_job_draft *d, sa2_error *err)
{
    const char *text = d->request->say;
    if (text == NULL)
        return SA2_OK;
    sa2_status st = sa2_encode(d->setting->prompt.encoder, text, strlen(text),
                               (sa2_span){0, strlen(text)}, &d->say, err);
    if (st != SA2_OK)
        return st;
    if (d->say.n == 0)
        return sa2_fail(err, SA2_ERR_ARG, "say: it is empty");
    if (d->say.n > INT32_MAX / 8 || sa2_script_least_tokens((int)d->say.n) > d->max_tokens)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "say: %zu text tokens need %zu tokens with their speech, there is room for "
                        "%d",
                        d->say.n, (size_t)sa2_script_least_tokens((int)d->say.n), d->max_tokens);
    return SA2_OK;
}

static int count_audio(const sa2_job_draft *d)
{
    int n = d->given != NULL ? d->given->n : 0;
    for (size_t i = 0; i < d->prompt.n_slots; i++)
        n += d->prompt.slots[i].n + 2; /* with its brackets */
    return n;
}

/* How the room behind the prompt is shared out, or that there is none. */
static sa2_status plan_lengths(sa2_job_draft *d, sa2_error *err)
{
    enum { TAIL = 16 }; /* ids that close the reasoning and open the answer, and more */
    const sa2_request *request = d->request;
    size_t n_prompt = d->prompt.ids.n, len = (size_t)d->setting->prompt.max_model_len;
    if (n_prompt == 0)
        return sa2_fail(err, SA2_ERR_ARG, "prompt: it is empty");
    if (n_prompt >= len)
        return sa2_fail(
            err, SA2_ERR_LIMIT,
            "prompt: %zu positions, %d of them for sound in %zu chunks, and one for the "
            "answer; the model has %zu",
            n_prompt, d->n_audio_positions, d->prompt.n_slots, len);
    if ((size_t)request->max_tokens > len - n_prompt)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "max_tokens: %d behind a prompt of %zu positions, the model has %zu",
                        request->max_tokens, n_prompt, len);
    int room = positions_with_pages(d->setting, (int)n_prompt, d->n_sequences) - (int)n_prompt;
    if (room < 1 || request->max_tokens > room)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "a prompt of %zu positions and %d tokens for each of %d answers need %lld "
                        "pages of %d positions, the cache has %d",
                        n_prompt, request->max_tokens > 0 ? request->max_tokens : 1, d->n_sequences,
                        (long long)sa2_scheduler_pages(
                            d->setting->page_size, (int)n_prompt,
                            (int)n_prompt + (request->max_tokens > 0 ? request->max_tokens : 1),
                            d->n_sequences),
                        d->setting->page_size, d->setting->n_pages);
    d->max_tokens = request->max_tokens > 0 ? request->max_tokens : room;
    if (request->think) {
        int answer = request->max_tokens > 0 ? request->max_tokens : room / 2;
        int left = room - answer - TAIL;
        if (left < 1)
            return sa2_fail(err, SA2_ERR_LIMIT,
                            "think: no room to think between a prompt of %zu positions and an "
                            "answer of %d; there are %d",
                            n_prompt, answer, room + (int)n_prompt);
        d->max_thinking = request->max_thinking_tokens > 0 && request->max_thinking_tokens < left
                              ? request->max_thinking_tokens
                              : left;
        d->max_answer = answer;
        d->max_positions = room + (int)n_prompt;
    } else {
        d->max_positions = (int)n_prompt + d->max_tokens;
    }
    return SA2_OK;
}

/* The second prompt replaces the last turn: it must be the one that the first opened. */
static sa2_status check_open_turn(sa2_job_draft *d, sa2_error *err)
{
    const sa2_prompt_setting *setting = &d->setting->prompt;
    sa2_ids again = {0};
    sa2_ids_append_all(&again, d->prompt.ids.data, d->prompt.ids.n);
    sa2_status st = sa2_ids_status(&again, err);
    if (st == SA2_OK)
        st = sa2_prompt_open_turn(&again, setting, sa2_think_prefill(setting->template), err);
    if (st == SA2_OK && (again.n != d->prompt.ids.n ||
                         memcmp(again.data, d->prompt.ids.data, again.n * sizeof *again.data) != 0))
        st = sa2_fail(err, SA2_ERR_ARG, "think: the prompt must end where an answer begins");
    sa2_ids_free(&again);
    return st;
}

/* Given rows: every run of neighbouring positions is a clip. */
static sa2_status count_given(sa2_job_draft *d, sa2_error *err)
{
    const sa2_given_rows *given = d->given;
    for (int i = 0; i < given->n; i++) {
        int position = given->positions[i], last = i > 0 ? given->positions[i - 1] : -2;
        if (position < 0 || (size_t)position >= d->prompt.ids.n || position <= last)
            return sa2_fail(err, SA2_ERR_ARG, "rows: rising positions in the prompt expected");
        d->n_clips += position > last + 1;
    }
    return SA2_OK;
}

sa2_status sa2_job_draft_make(sa2_job_draft *d, sa2_error *err)
{
    const sa2_job_setting *s = d->setting;
    const sa2_request *request = d->request;
    sa2_request_limits limits = {.n_tokens = s->prompt.n_tokens,
                                 .max_num_seqs = s->max_num_seqs,
                                 .has_tokenizer = s->prompt.encoder != NULL,
                                 .has_speech = s->token2wav != NULL};
    sa2_prompt_setting prompt = s->prompt;
    prompt.rows_given = d->given != NULL;
    sa2_status st = sa2_request_check(request, &limits, err);
    if (st == SA2_OK)
        st = sa2_sound_list_measure(&d->sounds, request->sounds, request->n_sounds, s->audio_rule,
                                    err);
    if (st == SA2_OK)
        st = sa2_prompt_make(&d->prompt, &prompt, request, &d->sounds, err);
    if (st == SA2_OK && request->chat != NULL)
        st = sa2_tool_names_read(&d->tools, request->chat->tools, err);
    if (st != SA2_OK)
        return st;
    d->n_outputs = request->n > 1 ? request->n : 1;
    d->n_sequences = request->beam.n_beams > 1 ? request->beam.n_beams : d->n_outputs;
    for (size_t i = 0; i < d->prompt.n_slots; i++)
        d->n_clips += d->prompt.slots[i].n > 0;
    d->n_audio_positions = count_audio(d);
    st = d->given != NULL ? count_given(d, err) : SA2_OK;
    if (st != SA2_OK)
        return st;
    st = plan_lengths(d, err);
    if (st == SA2_OK)
        st = make_script(d, err);
    if (st == SA2_OK && request->voice != NULL)
        d->max_codes = smaller(d->max_tokens, sa2_token2wav_max_codes(s->token2wav));
    return st == SA2_OK && request->think ? check_open_turn(d, err) : st;
}

void sa2_job_draft_free(sa2_job_draft *d)
{
    sa2_ids_free(&d->say);
    sa2_tool_names_free(&d->tools);
    sa2_prompt_free(&d->prompt);
    sa2_sound_list_destroy(&d->sounds);
}
