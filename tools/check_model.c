#include "tools/check_model.h"

#include <stdlib.h>
#include <string.h>

#include "loader/synthetic.h"

sa2_status sa2_check_model_open(sa2_model *model, const sa2_check_run *run, int parts,
                                sa2_error *err)
{
    sa2_model_options options = {.parts = parts};
    if (run->context->model != NULL)
        return sa2_model_open(model, run->context->backend, run->context->model, &options, err);
    const char *name = sa2_golden_text(run->golden, "preset");
    sa2_preset preset;
    int64_t seed;
    sa2_tensor_map *map = NULL;
    if (name == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no preset, and no model was given",
                        sa2_golden_origin(run->golden));
    sa2_status st = sa2_preset_find(&preset, name, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "seed", INT64_MIN, INT64_MAX, &seed, err);
    if (st == SA2_OK)
        st = sa2_synthetic_map(&map, &preset, (uint64_t)seed, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor_map_set_threads(map, sa2_backend_threads(run->context->backend));
    st = sa2_model_from_map(model, run->context->backend, &preset.config, map,
                            preset.vocab_entries + SA2_PRESET_ADDED_TOKENS, &options, err);
    sa2_tensor_map_destroy(map);
    return st;
}

enum { PAGE = 64 };

sa2_status sa2_check_decoder_open(sa2_check_decoder *d, const sa2_check_run *run,
                                  const sa2_model *model, int n_sequences, int64_t max_length,
                                  int64_t max_rows, sa2_error *err)
{
    const sa2_decoder_config *c = &model->config.decoder;
    *d = (sa2_check_decoder){.model = model,
                             .dtype = run->context->dtype,
                             .n_sequences = n_sequences,
                             .max_pages = (int)((max_length + PAGE - 1) / PAGE),
                             .max_rows = max_rows};
    int n_pages = n_sequences * d->max_pages;
    d->kv = calloc((size_t)c->layers, sizeof *d->kv);
    d->block_table = malloc((size_t)n_pages * sizeof *d->block_table);
    if (d->kv == NULL || d->block_table == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d pages", n_pages);
    for (int i = 0; i < n_pages; i++)
        d->block_table[i] = n_pages - 1 - i; /* not in order, as in a running engine */

    sa2_kv_cache_view view = {.n_pages = n_pages,
                              .page_size = PAGE,
                              .kv_heads = c->kv_heads,
                              .head_dim = c->head_dim,
                              .dtype = d->dtype};
    sa2_status st = sa2_check_device_open(
        &d->device, run, sa2_attention_scratch_bytes(max_rows, c->heads, c->head_dim, max_length),
        err);
    if (st != SA2_OK)
        return st;
    size_t layer = (size_t)n_pages * sa2_kv_page_bytes(&view);
    size_t rows = (size_t)max_rows, vocab = (size_t)c->vocab, hidden = (size_t)c->hidden;
    size_t step = rows * (vocab + 3 * hidden + 8) * sizeof(float) + 16 * SA2_ARENA_ALIGN;
    st = sa2_check_device_reserve(&d->device,
                                  (size_t)c->layers * sa2_arena_round(layer) + step +
                                      sa2_decoder_work_bytes(c, true, d->dtype, max_rows, max_rows),
                                  err);
    for (int i = 0; st == SA2_OK && i < c->layers; i++) {
        d->kv[i] = view;
        d->kv[i].pages = sa2_arena_take(&d->device.arena, layer);
    }
    return st;
}

void sa2_check_decoder_close(sa2_check_decoder *d)
{
    sa2_check_device_close(&d->device);
    free(d->kv);
    free(d->block_table);
    *d = (sa2_check_decoder){0};
}

/* The host's side of a step, gathered from the pieces. */
typedef struct gathered {
    int32_t *ids, *positions, *offsets, *first, *places;
    float *audio_rows;
    int n_rows, n_audio;
} gathered;

static void free_gathered(gathered *g)
{
    free(g->ids);
    free(g->positions);
    free(g->offsets);
    free(g->first);
    free(g->places);
    free(g->audio_rows);
}

static bool gather(gathered *g, const sa2_check_decoder *d, const sa2_check_piece *pieces)
{
    size_t n = (size_t)d->n_sequences, rows = (size_t)d->max_rows;
    size_t hidden = (size_t)d->model->config.decoder.hidden;
    *g = (gathered){.ids = malloc(rows * sizeof(int32_t)),
                    .positions = malloc(rows * sizeof(int32_t)),
                    .offsets = calloc(n + 1, sizeof(int32_t)),
                    .first = malloc(n * sizeof(int32_t)),
                    .places = malloc(rows * sizeof(int32_t)),
                    .audio_rows = malloc(rows * hidden * sizeof(float))};
    if (g->ids == NULL || g->positions == NULL || g->offsets == NULL || g->first == NULL ||
        g->places == NULL || g->audio_rows == NULL)
        return false;
    for (int i = 0; i < d->n_sequences; i++) {
        const sa2_check_piece *p = &pieces[i];
        g->first[i] = p->first_position;
        for (int r = 0; r < p->n; r++) {
            g->ids[g->n_rows + r] = p->ids[r];
            g->positions[g->n_rows + r] = p->first_position + r;
        }
        for (int a = 0; a < p->n_audio; a++) {
            int r = p->audio_positions[a] - p->first_position;
            if (r < 0 || r >= p->n)
                continue;
            g->places[g->n_audio] = g->n_rows + r;
            memcpy(g->audio_rows + (size_t)g->n_audio * hidden, p->audio_rows + (size_t)a * hidden,
                   hidden * sizeof(float));
            g->n_audio++;
        }
        g->n_rows += p->n;
        g->offsets[i + 1] = g->n_rows;
    }
    return true;
}

static sa2_tensor uploaded(sa2_check_device *device, sa2_tensor shape, const void *src)
{
    shape.data = sa2_arena_take(&device->arena, sa2_tensor_bytes(&shape));
    sa2_upload(device->stream, shape, src);
    return shape;
}

sa2_status sa2_check_decoder_step(sa2_check_decoder *d, const sa2_check_piece *pieces,
                                  const int32_t *wanted, int m, float *logits, float *hidden,
                                  sa2_error *err)
{
    const sa2_decoder_config *c = &d->model->config.decoder;
    gathered g;
    if (!gather(&g, d, pieces)) {
        free_gathered(&g);
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for a step");
    }
    size_t mark = sa2_arena_mark(&d->device.arena);
    sa2_decoder_batch batch = {
        .ids = uploaded(&d->device, sa2_tensor_1d(NULL, SA2_I32, g.n_rows), g.ids),
        .positions = uploaded(&d->device, sa2_tensor_1d(NULL, SA2_I32, g.n_rows), g.positions),
        .where = {.rows = {d->n_sequences, g.offsets},
                  .first_position = g.first,
                  .block_table = d->block_table,
                  .max_pages = d->max_pages},
        .logits_rows = uploaded(&d->device, sa2_tensor_1d(NULL, SA2_I32, m), wanted),
        .kv = d->kv,
    };
    if (g.n_audio > 0) {
        batch.audio_rows =
            uploaded(&d->device, sa2_tensor_2d(NULL, SA2_F32, g.n_audio, c->hidden), g.audio_rows);
        batch.audio_places =
            uploaded(&d->device, sa2_tensor_1d(NULL, SA2_I32, g.n_audio), g.places);
    }
    sa2_tensor out = sa2_tensor_2d(NULL, SA2_F32, m, c->vocab),
               out_hidden = sa2_tensor_2d(NULL, SA2_F32, m, c->hidden);
    out.data = sa2_arena_take(&d->device.arena, sa2_tensor_bytes(&out));
    out_hidden.data = sa2_arena_take(&d->device.arena, sa2_tensor_bytes(&out_hidden));
    sa2_status st = sa2_decoder_forward(d->device.stream, &d->model->decoder, d->dtype,
                                        &d->device.arena, out, out_hidden, &batch, err);
    if (logits != NULL)
        sa2_download(d->device.stream, logits, out);
    if (hidden != NULL)
        sa2_download(d->device.stream, hidden, out_hidden);
    sa2_status finished = sa2_stream_finish(d->device.stream, st == SA2_OK ? err : NULL);
    sa2_arena_rewind(&d->device.arena, mark);
    free_gathered(&g);
    return st != SA2_OK ? st : finished;
}
