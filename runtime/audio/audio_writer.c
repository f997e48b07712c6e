#include "runtime/audio/audio_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { BLOCK = 4096 }; /* samples converted at once */

struct sa2_audio_writer {
    char *path;
    int fd;
    bool owns_fd;
    SNDFILE *file; /* NULL: raw PCM */
    sa2_audio_sample sample;
};

typedef struct file_kind {
    const char *ending;
    int format_s16, format_f32; /* of libsndfile; 0: not to be had */
} file_kind;

static const file_kind kinds[] = {
    {".wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_WAV | SF_FORMAT_FLOAT},
    {".flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 0},
    {".ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS, 0},
    {".opus", SF_FORMAT_OGG | SF_FORMAT_OPUS, 0},
    {".mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 0},
};

static const file_kind *kind_of(const char *path)
{
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcasecmp(ending, kinds[i].ending) == 0)
            return &kinds[i];
    return NULL;
}

/* What the system said comes first: libsndfile often has no words for a full disk. */
static const char *reason(const char *otherwise)
{
    return errno != 0 ? strerror(errno) : otherwise;
}

static sa2_status open_sound_file(sa2_audio_writer *writer, int rate, sa2_error *err)
{
    const file_kind *kind = kind_of(writer->path);
    if (kind == NULL)
        return sa2_fail(err, SA2_ERR_ARG,
                        "%s: a name that ends in .wav, .flac, .ogg, .opus or .mp3 expected",
                        writer->path);
    SF_INFO info = {.samplerate = rate, .channels = 1};
    info.format = writer->sample == SA2_SAMPLE_F32 ? kind->format_f32 : kind->format_s16;
    if (info.format == 0)
        return sa2_fail(err, SA2_ERR_ARG, "%s: float samples go into .wav only", writer->path);
    writer->fd = open(writer->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    writer->owns_fd = true;
    if (writer->fd < 0)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", writer->path, strerror(errno));
    writer->file = sf_open_fd(writer->fd, SFM_WRITE, &info, SF_FALSE);
    if (writer->file == NULL)
        return sa2_fail(err, sf_error(NULL) == SF_ERR_SYSTEM ? SA2_ERR_IO : SA2_ERR_ARG,
                        "%s: %s of %d Hz: %s", writer->path, kind->ending, rate, sf_strerror(NULL));
    if ((info.format & SF_FORMAT_TYPEMASK) ==
        SF_FORMAT_WAV) /* a Vorbis header cannot be written twice */
        sf_command(writer->file, SFC_SET_UPDATE_HEADER_AUTO, NULL, SF_TRUE);
    return SA2_OK;
}

sa2_status sa2_audio_writer_create(sa2_audio_writer **writer, const char *path, int rate,
                                   sa2_audio_sample sample, sa2_error *err)
{
    *writer = NULL;
    sa2_audio_writer *made = calloc(1, sizeof *made);
    if (made != NULL)
        made->path = strdup(strcmp(path, "-") == 0 ? "standard output" : path);
    if (made == NULL || made->path == NULL) {
        free(made);
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for a writer", path);
    }
    made->fd = STDOUT_FILENO;
    made->sample = sample;
    sa2_status st = strcmp(path, "-") == 0 ? SA2_OK : open_sound_file(made, rate, err);
    if (st == SA2_OK)
        *writer = made;
    else
        sa2_audio_writer_destroy(made);
    return st;
}

static sa2_status write_bytes(const sa2_audio_writer *writer, const void *data, size_t n,
                              sa2_error *err)
{
    const char *next = data;
    while (n > 0) {
        ssize_t wrote = write(writer->fd, next, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return sa2_fail(err, SA2_ERR_IO, "%s: %s", writer->path, strerror(errno));
        next += wrote;
        n -= (size_t)wrote;
    }
    return SA2_OK;
}

/* 32-bit words in little-endian order, whatever this machine's is. */
static sa2_status write_f32(const sa2_audio_writer *writer, const float *samples, int n,
                            sa2_error *err)
{
    unsigned char bytes[BLOCK * sizeof(float)];
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &samples[i], sizeof bits);
        for (int b = 0; b < 4; b++)
            bytes[4 * i + b] = (unsigned char)(bits >> 8 * b);
    }
    return write_bytes(writer, bytes, (size_t)n * sizeof(float), err);
}

static sa2_status write_s16(const sa2_audio_writer *writer, const int16_t *samples, int n,
                            sa2_error *err)
{
    unsigned char bytes[BLOCK * sizeof(int16_t)];
    for (int i = 0; i < n; i++) {
        bytes[2 * i] = (unsigned char)((uint16_t)samples[i] & 0xff);
        bytes[2 * i + 1] = (unsigned char)((uint16_t)samples[i] >> 8);
    }
    return write_bytes(writer, bytes, (size_t)n * sizeof(int16_t), err);
}

void sa2_audio_to_s16(int16_t *out, const float *samples, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (int16_t)(fminf(fmaxf(samples[i], -1.0f), 1.0f) * 32767.0f);
}

sa2_status sa2_audio_writer_append(sa2_audio_writer *writer, const float *samples, int64_t n,
                                   sa2_error *err)
{
    for (int64_t from = 0; from < n; from += BLOCK) {
        int count = (int)(n - from < BLOCK ? n - from : BLOCK);
        int16_t s16[BLOCK];
        sa2_audio_to_s16(s16, samples + from, count);
        sf_count_t wrote = count;
        errno = 0;
        sa2_status st = SA2_OK;
        if (writer->file != NULL && writer->sample == SA2_SAMPLE_F32)
            wrote = sf_write_float(writer->file, samples + from, count);
        else if (writer->file != NULL)
            wrote = sf_write_short(writer->file, s16, count);
        else if (writer->sample == SA2_SAMPLE_F32)
            st = write_f32(writer, samples + from, count, err);
        else
            st = write_s16(writer, s16, count, err);
        if (wrote != count)
            st = sa2_fail(err, SA2_ERR_IO, "%s: %s", writer->path,
                          reason(sf_strerror(writer->file)));
        if (st != SA2_OK)
            return st;
    }
    return SA2_OK;
}

sa2_status sa2_audio_writer_finish(sa2_audio_writer *writer, sa2_error *err)
{
    sa2_status st = SA2_OK;
    if (writer->file != NULL) {
        errno = 0;
        int problem = sf_close(writer->file);
        writer->file = NULL;
        if (problem != SF_ERR_NO_ERROR)
            st =
                sa2_fail(err, SA2_ERR_IO, "%s: %s", writer->path, reason(sf_error_number(problem)));
    }
    if (writer->owns_fd) {
        writer->owns_fd = false;
        if (close(writer->fd) != 0 && st == SA2_OK)
            st = sa2_fail(err, SA2_ERR_IO, "%s: %s", writer->path, strerror(errno));
    }
    return st;
}

void sa2_audio_writer_destroy(sa2_audio_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->file != NULL)
        sf_close(writer->file);
    if (writer->owns_fd && writer->fd >= 0)
        close(writer->fd);
    free(writer->path);
    free(writer);
}
