#include "runtime/token2wav/voice_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "loader/little_endian.h"
#include "loader/mapped_file.h"
#include "loader/output_file.h"

static const char magic[8] = {'S', 'A', '2', 'V', 'O', 'I', 'C', 'E'};

enum {
    AT_VERSION = 8,
    AT_MEL_BINS = 12,
    AT_KEY = 16,
    AT_TOKENS = 32,
    AT_SPEAKER = 36,
    AT_FRAMES = 40,
    AT_ZERO = 44,
    AT_SUM = 48,
    HEADER = 56,
};

/* Of a whole file: all but the sum itself. */
static uint64_t checksum(const unsigned char *file, size_t bytes)
{
    uint64_t header = XXH3_64bits(file, AT_SUM);
    return XXH3_64bits_withSeed(file + HEADER, bytes - HEADER, header);
}

/* ---- writing ---- */

/* Numbers of four bytes each, in the order of the file. */
static unsigned char *put_words(unsigned char *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, (const char *)from + 4 * i, sizeof word);
        to = sa2_put_le32(to, word);
    }
    return to;
}

static size_t file_bytes(size_t tokens, size_t speaker, size_t frames, size_t mel_bins)
{
    return HEADER + 4 * (tokens + speaker + frames * mel_bins);
}

sa2_status sa2_voice_file_write(const char *path, const sa2_voice_key *key, const sa2_voice *voice,
                                sa2_error *err)
{
    size_t tokens = (size_t)voice->n_tokens, speaker = (size_t)voice->n_speaker;
    size_t frames = (size_t)voice->n_frames, bins = (size_t)voice->mel_bins;
    size_t bytes = file_bytes(tokens, speaker, frames, bins);
    unsigned char *file = malloc(bytes);
    if (file == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu bytes", path, bytes);
    memcpy(file, magic, sizeof magic);
    sa2_put_le32(file + AT_VERSION, SA2_VOICE_FILE_VERSION);
    sa2_put_le32(file + AT_MEL_BINS, (uint32_t)bins);
    memcpy(file + AT_KEY, key->bytes, sizeof key->bytes);
    sa2_put_le32(file + AT_TOKENS, (uint32_t)tokens);
    sa2_put_le32(file + AT_SPEAKER, (uint32_t)speaker);
    sa2_put_le32(file + AT_FRAMES, (uint32_t)frames);
    sa2_put_le32(file + AT_ZERO, 0);
    unsigned char *to = put_words(file + HEADER, voice->tokens, tokens);
    to = put_words(to, voice->speaker, speaker);
    put_words(to, voice->mel, frames * bins);
    sa2_put_le64(file + AT_SUM, checksum(file, bytes));
    sa2_status st = sa2_write_whole_file(path, file, bytes, err);
    free(file);
    return st;
}

/* ---- reading ---- */

static const unsigned char *get_words(void *to, const unsigned char *from, size_t n)
{
    for (size_t i = 0; i < n; i++, from += 4) {
        uint32_t word = sa2_le32(from);
        memcpy((char *)to + 4 * i, &word, sizeof word);
    }
    return from;
}

/* Everything that the header says, before any of it is used. */
static sa2_status judge(const sa2_mapped_file *file, const sa2_voice_key *key,
                        const sa2_voice_form *form, sa2_error *err)
{
    const unsigned char *at = file->data;
    if (file->bytes < HEADER || memcmp(at, magic, sizeof magic) != 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "not a voice file");
    if (sa2_le32(at + AT_VERSION) != SA2_VOICE_FILE_VERSION)
        return sa2_fail(err, SA2_ERR_FORMAT, "version %u, %d expected", sa2_le32(at + AT_VERSION),
                        SA2_VOICE_FILE_VERSION);
    if (memcmp(at + AT_KEY, key->bytes, sizeof key->bytes) != 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "of another recording or another model");
    uint64_t tokens = sa2_le32(at + AT_TOKENS), frames = sa2_le32(at + AT_FRAMES);
    uint32_t speaker = sa2_le32(at + AT_SPEAKER), bins = sa2_le32(at + AT_MEL_BINS);
    if (tokens < 1 || frames > INT32_MAX || speaker != (uint32_t)form->n_speaker ||
        bins != (uint32_t)form->mel_bins || frames != tokens * (uint64_t)form->frames_per_token)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%llu tokens, a vector of %u, %llu frames of %u bands; a vector of %d, %d "
                        "frames of %d bands for each token expected",
                        (unsigned long long)tokens, speaker, (unsigned long long)frames, bins,
                        form->n_speaker, form->frames_per_token, form->mel_bins);
    uint64_t words = (file->bytes - HEADER) / 4;
    if (file->bytes % 4 != 0 || tokens > words || frames > (words - tokens) / bins ||
        words - tokens - frames * bins != speaker)
        return sa2_fail(err, SA2_ERR_FORMAT, "%zu bytes are not those of %llu tokens", file->bytes,
                        (unsigned long long)tokens);
    if (sa2_le32(at + AT_ZERO) != 0 || sa2_le64(at + AT_SUM) != checksum(at, file->bytes))
        return sa2_fail(err, SA2_ERR_FORMAT, "damaged: the checksum is another one");
    return SA2_OK;
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static sa2_status judge_values(const sa2_voice *v, const sa2_voice_form *form, sa2_error *err)
{
    for (int i = 0; i < v->n_tokens; i++)
        if (v->tokens[i] < 0 || v->tokens[i] >= form->vocab)
            return sa2_fail(err, SA2_ERR_FORMAT, "token %d is %d, 0 to %lld expected", i,
                            v->tokens[i], (long long)form->vocab - 1);
    if (!all_finite(v->speaker, (size_t)v->n_speaker) ||
        !all_finite(v->mel, (size_t)v->n_frames * (size_t)v->mel_bins))
        return sa2_fail(err, SA2_ERR_FORMAT, "a value is not a number");
    return SA2_OK;
}

static sa2_status parse(sa2_voice *voice, const sa2_mapped_file *file, const sa2_voice_key *key,
                        const sa2_voice_form *form, sa2_error *err)
{
    sa2_voice v = {0};
    sa2_status st = judge(file, key, form, err);
    if (st == SA2_OK)
        st = sa2_voice_create(&v, (int)sa2_le32(file->data + AT_TOKENS), form->n_speaker,
                              (int)sa2_le32(file->data + AT_FRAMES), form->mel_bins, err);
    if (st != SA2_OK)
        return st;
    const unsigned char *from = get_words(v.tokens, file->data + HEADER, (size_t)v.n_tokens);
    from = get_words(v.speaker, from, (size_t)v.n_speaker);
    get_words(v.mel, from, (size_t)v.n_frames * (size_t)v.mel_bins);
    st = judge_values(&v, form, err);
    if (st == SA2_OK)
        *voice = v;
    else
        sa2_voice_destroy(&v);
    return st;
}

sa2_status sa2_voice_file_read(sa2_voice *voice, const char *path, const sa2_voice_key *key,
                               const sa2_voice_form *form, sa2_error *err)
{
    sa2_mapped_file file = {0};
    sa2_status st = sa2_mapped_file_open(&file, path, err);
    if (st != SA2_OK)
        return st;
    st = parse(voice, &file, key, form, err);
    sa2_mapped_file_close(&file);
    return st == SA2_OK ? st : sa2_wrap(err, st, "%s", path);
}
