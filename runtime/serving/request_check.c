#include "runtime/serving/request_check.h"

#include <string.h>

#include "runtime/decoder/beam.h"
#include "runtime/serving/stop_text.h"
#include "runtime/token2wav/speech.h"

typedef struct report {
    sa2_status status;
    sa2_error *err;
} report;

/* Notes the first status; returns whether the field is right. */
static void expect(report *r, bool right, const char *field, const char *expected, long long found)
{
    if (right)
        return;
    sa2_status st =
        sa2_fail_also(r->err, SA2_ERR_ARG, "%s: %s expected, found %lld", field, expected, found);
    r->status = r->status == SA2_OK ? st : r->status;
}

/* The same for a count that has a range. */
static void expect_within(report *r, const char *field, int least, int most, int found)
{
    if (found >= least && found <= most)
        return;
    sa2_status st = sa2_fail_also(r->err, SA2_ERR_ARG, "%s: %d to %d expected, found %d", field,
                                  least, most, found);
    r->status = r->status == SA2_OK ? st : r->status;
}

static void refuse(report *r, sa2_status st, const char *why)
{
    st = sa2_fail_also(r->err, st, "%s", why);
    r->status = r->status == SA2_OK ? st : r->status;
}

static void check_stops(report *r, const sa2_request *request, const sa2_request_limits *limits)
{
    for (size_t i = 0; i < request->n_stop; i++) {
        size_t bytes = request->stop[i] != NULL ? strlen(request->stop[i]) : 0;
        expect(r, bytes > 0 && bytes <= SA2_STOP_MAX_BYTES, "stop", "strings of 1 to 256 bytes",
               (long long)bytes);
    }
    for (size_t i = 0; i < request->n_stop_ids; i++)
        expect(r, request->stop_ids[i] >= 0 && request->stop_ids[i] < limits->n_tokens, "stop_ids",
               "ids of tokens", request->stop_ids[i]);
    if (!limits->has_tokenizer && (request->n_stop > 0 || request->speak || request->think))
        refuse(r, SA2_ERR_UNSUPPORTED,
               "stop, speak, think: the model has no tokenizer to read its answers with");
}

static void check_thinking(report *r, const sa2_request *request)
{
    if (!request->think)
        return;
    expect(r, request->n <= 1, "n", "1 answer with think", request->n);
    expect(r, request->beam.n_beams <= 1, "beam.n_beams", "none with think", request->beam.n_beams);
    if (request->chat == NULL)
        refuse(r, SA2_ERR_ARG, "think: a chat expected");
}

static void check_say(report *r, const sa2_request *request, const sa2_request_limits *limits)
{
    if (request->say == NULL)
        return;
    expect(r, request->beam.n_beams <= 1, "beam.n_beams", "none with say", request->beam.n_beams);
    expect(r, request->sampling.allowed.n == 0, "sampling.allowed", "none with say",
           request->sampling.allowed.n);
    expect(r, request->sampling.min_tokens == 0, "sampling.min_tokens", "0 with say",
           request->sampling.min_tokens);
    if ((!request->speak && request->ids == NULL) || request->think)
        refuse(r, SA2_ERR_ARG, "say: an answer that is spoken (speak), without think, expected");
    if (!limits->has_tokenizer)
        refuse(r, SA2_ERR_UNSUPPORTED, "say: the model has no tokenizer");
}

static void check_voice(report *r, const sa2_request *request, const sa2_request_limits *limits)
{
    int first = request->first_chunk;
    expect(r, first == 0 || (first >= SA2_SPEECH_FIRST_LEAST && first <= SA2_SPEECH_CHUNK),
           "first_chunk", "0, or 4 to 25 codes", first);
    if (request->voice == NULL)
        return;
    expect(r, request->beam.n_beams <= 1, "beam.n_beams", "none with a voice",
           request->beam.n_beams);
    if (!request->speak && request->ids == NULL)
        refuse(r, SA2_ERR_ARG, "voice: an answer that is to be spoken (speak) expected");
    if (!limits->has_speech)
        refuse(r, SA2_ERR_UNSUPPORTED, "voice: the engine was opened without speech");
}

sa2_beam_params sa2_request_beam(const sa2_request *request, int n_tokens)
{
    return (sa2_beam_params){.rule = request->beam.whole_length ? SA2_BEAM_FORK : SA2_BEAM_HF,
                             .beams = request->beam.n_beams,
                             .length_penalty = request->beam.length_penalty,
                             .early_stopping = request->beam.early_stopping,
                             .max_tokens = 1,
                             .min_tokens = request->sampling.min_tokens,
                             .repetition_penalty = request->sampling.repetition_penalty,
                             .n_tokens = n_tokens};
}

sa2_status sa2_request_check(const sa2_request *request, const sa2_request_limits *limits,
                             sa2_error *err)
{
    report r = {.err = err};
    int most = limits->max_num_seqs < UINT8_MAX ? limits->max_num_seqs : UINT8_MAX;
    int beams = request->beam.n_beams;
    expect_within(&r, "n", 0, most, request->n);
    expect(&r, request->max_tokens >= 0, "max_tokens", "0 or more", request->max_tokens);
    expect(&r, request->max_tokens <= 0 || request->sampling.min_tokens <= request->max_tokens,
           "sampling.min_tokens", "at most max_tokens", request->sampling.min_tokens);
    expect(&r, request->max_thinking_tokens >= 0, "max_thinking_tokens", "0 or more",
           request->max_thinking_tokens);
    expect(&r, request->deadline_ms >= 0, "deadline_ms", "0 or more", request->deadline_ms);
    expect_within(&r, "beam.n_beams", 0, most, beams);
    if (beams > 1) {
        expect(&r, request->n <= beams, "n", "at most beam.n_beams", request->n);
        expect(&r, request->sampling.n_logprobs < 0, "sampling.n_logprobs", "-1 (none) with beams",
               request->sampling.n_logprobs);
        sa2_beam_params beam = sa2_request_beam(request, limits->n_tokens);
        sa2_status st = sa2_beam_check(&beam, err);
        r.status = r.status == SA2_OK ? st : r.status;
    }
    check_stops(&r, request, limits);
    check_thinking(&r, request);
    check_say(&r, request, limits);
    check_voice(&r, request, limits);
    sa2_status st = sa2_sampling_check(&request->sampling, limits->n_tokens, err);
    return r.status == SA2_OK ? st : r.status;
}
