#include "runtime/serving/sound_list.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/base/limits.h"

static sa2_status check_sound(const sa2_sound *sound, size_t i, sa2_error *err)
{
    if (sound->rate < SA2_SOUND_MIN_HZ || sound->rate > SA2_SOUND_MAX_HZ)
        return sa2_fail_also(err, SA2_ERR_ARG, "sounds[%zu].rate: %d to %d Hz expected, found %d",
                             i, SA2_SOUND_MIN_HZ, SA2_SOUND_MAX_HZ, sound->rate);
    if (sound->n_samples == 0)
        return sa2_fail_also(err, SA2_ERR_ARG, "sounds[%zu]: it has no samples", i);
    if (sound->n_samples < 0 || sound->samples == NULL)
        return sa2_fail_also(err, SA2_ERR_ARG, "sounds[%zu]: %lld samples at %p", i,
                             (long long)sound->n_samples, (const void *)sound->samples);
    if (sound->n_samples > (int64_t)sound->rate * SA2_LIMIT_SOUND_SECONDS)
        return sa2_fail_also(err, SA2_ERR_LIMIT, "sounds[%zu]: %.1f s, at most %d s are taken", i,
                             (double)sound->n_samples / sound->rate, SA2_LIMIT_SOUND_SECONDS);
    return SA2_OK;
}

static sa2_status count_samples(sa2_sound_list *s, sa2_error *err)
{
    for (size_t i = 0; i < s->n; i++) {
        sa2_status st =
            sa2_resample_table_create(&s->tables[i], s->sounds[i].rate, SA2_AUDIO_RATE, err);
        if (st != SA2_OK)
            return sa2_wrap(err, st, "sounds[%zu]", i);
        s->n_samples[i] = sa2_resample_count(&s->tables[i], s->sounds[i].n_samples);
        s->total_samples += s->n_samples[i];
        s->first_chunk[i + 1] = s->first_chunk[i] + (size_t)sa2_audio_chunks(s->n_samples[i]);
    }
    return SA2_OK;
}

sa2_status sa2_sound_list_measure(sa2_sound_list *s, const sa2_sound *given, size_t n,
                                  sa2_length_rule rule, sa2_error *err)
{
    *s = (sa2_sound_list){.sounds = given};
    sa2_status st = SA2_OK;
    for (size_t i = 0; i < n; i++) {
        sa2_status found = check_sound(&given[i], i, err);
        st = st == SA2_OK ? found : st;
    }
    if (st != SA2_OK)
        return st;
    s->tables = calloc(n + 1, sizeof *s->tables);
    s->n_samples = calloc(n + 1, sizeof *s->n_samples);
    s->first_chunk = calloc(n + 1, sizeof *s->first_chunk);
    if (s->tables == NULL || s->n_samples == NULL || s->first_chunk == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%zu sounds", n);
    s->n = n;
    st = count_samples(s, err);
    if (st != SA2_OK)
        return st;
    s->patches = calloc(s->first_chunk[n] + 1, sizeof *s->patches);
    if (s->patches == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%zu chunks of sound", s->first_chunk[n]);
    for (size_t i = 0; i < n; i++)
        for (size_t k = s->first_chunk[i]; k < s->first_chunk[i + 1]; k++) {
            int64_t first, samples = sa2_sound_list_chunk(s, i, k - s->first_chunk[i], &first);
            s->patches[k] = (int)sa2_audio_lengths_of(samples, rule).tokens;
        }
    return SA2_OK;
}

void sa2_sound_list_destroy(sa2_sound_list *s)
{
    for (size_t i = 0; i < s->n; i++)
        sa2_resample_table_destroy(&s->tables[i]);
    free(s->patches);
    free(s->first_chunk);
    free(s->n_samples);
    free(s->tables);
    *s = (sa2_sound_list){0};
}

int64_t sa2_sound_list_chunk(const sa2_sound_list *s, size_t i, size_t chunk, int64_t *first)
{
    *first = (int64_t)chunk * SA2_AUDIO_CHUNK;
    for (size_t k = 0; k < i; k++)
        *first += s->n_samples[k];
    return sa2_audio_chunk_samples(s->n_samples[i], (int64_t)chunk);
}

sa2_status sa2_sound_list_resample(const sa2_sound_list *s, float *out, sa2_error *err)
{
    for (size_t i = 0; i < s->n; i++) {
        const sa2_sound *sound = &s->sounds[i];
        for (int64_t k = 0; k < sound->n_samples; k++)
            if (!isfinite(sound->samples[k]))
                return sa2_fail(err, SA2_ERR_FORMAT, "sounds[%zu]: sample %lld is %f", i,
                                (long long)k, (double)sound->samples[k]);
        sa2_status st = sa2_resample(&s->tables[i], sound->samples, sound->n_samples, out, err);
        if (st != SA2_OK)
            return sa2_wrap(err, st, "sounds[%zu]", i);
        out += s->n_samples[i];
    }
    return SA2_OK;
}
