#include "tools/speech_record.h"

#include <stdlib.h>
#include <string.h>

#include "tools/plot.h"
#include "tools/terminal.h"

enum { MOST_CHUNKS = 4096 };

struct sa2_speech_record {
    float *samples; /* [room] */
    size_t n, room;
    sa2_plot_chunk chunks[MOST_CHUNKS]; /* later ones are not drawn */
    int n_chunks;
    bool asked;
    double began;
};

sa2_speech_record *sa2_speech_record_create(void)
{
    return calloc(1, sizeof(sa2_speech_record));
}

void sa2_speech_record_destroy(sa2_speech_record *r)
{
    if (r != NULL)
        free(r->samples);
    free(r);
}

void sa2_speech_record_asked(sa2_speech_record *r)
{
    if (!r->asked)
        r->began = sa2_now();
    r->asked = true;
}

sa2_status sa2_speech_record_add(sa2_speech_record *r, const float *samples, size_t n,
                                 sa2_error *err)
{
    if (r->n + n > r->room) {
        size_t room = 2 * (r->n + n);
        float *grown = realloc(r->samples, room * sizeof *grown);
        if (grown == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "picture: no memory for %zu samples", room);
        r->samples = grown;
        r->room = room;
    }
    if (r->n_chunks < MOST_CHUNKS)
        r->chunks[r->n_chunks++] = (sa2_plot_chunk){
            .first = (int64_t)r->n, .n = (int64_t)n, .ready = sa2_now() - r->began};
    memcpy(r->samples + r->n, samples, n * sizeof *samples);
    r->n += n;
    return SA2_OK;
}

sa2_status sa2_speech_record_draw(const sa2_speech_record *r, const char *path, const char *title,
                                  sa2_error *err)
{
    const sa2_plot plot = {.title = title,
                           .samples = r->samples,
                           .n = (int64_t)r->n,
                           .chunks = r->chunks,
                           .n_chunks = r->n_chunks};
    return sa2_plot_write(path, &plot, err);
}
