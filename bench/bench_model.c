#include "bench/bench_model.h"

#include "kernels/base/limits.h"
#include "loader/synthetic.h"
#include "loader/synthetic_vocab.h"
#include "runtime/vocabulary.h"
#include "tools/model_place.h"
#include "tools/terminal.h"

static void show(void *context, const char *what, size_t done, size_t total)
{
    (void)what;
    sa2_progress_show(context, (double)done, (double)total);
}

static sa2_status make(sa2_model *model, sa2_backend *backend,
                       const sa2_bench_model_options *options,
                       const sa2_model_options *model_options, sa2_error *err)
{
    sa2_preset preset;
    sa2_tensor_map *map = NULL;
    sa2_vocabulary vocabulary = {0};
    sa2_vocab_file words = {0};
    sa2_status st = sa2_preset_find(&preset, options->preset, err);
    if (st != SA2_OK)
        return st;
    if (options->layers > 0)
        preset.config.decoder.layers = options->layers;
    if (options->blocks > 0)
        preset.config.encoder.blocks = options->blocks;
    st = sa2_synthetic_map(&map, &preset, 0, err);
    if (st == SA2_OK)
        st = sa2_synthetic_vocab(&words, &preset, err);
    if (st == SA2_OK)
        st = sa2_vocabulary_of(&vocabulary, &words, err);
    if (st == SA2_OK) {
        sa2_tensor_map_set_threads(map, sa2_backend_threads(backend));
        st = sa2_model_from_map(model, backend, &preset.config, map,
                                sa2_tokenizer_n_ids(vocabulary.tokenizer), model_options, err);
    }
    if (st == SA2_OK) {
        model->tokenizer = vocabulary.tokenizer;
        model->special = vocabulary.special;
    } else {
        sa2_vocabulary_close(&vocabulary);
    }
    sa2_vocab_file_destroy(&words);
    sa2_tensor_map_destroy(map);
    return st;
}

static bool is_depth(const char *option, int n, const sa2_usage_text *usage)
{
    if (n < 0 || n > SA2_LIMIT_LAYERS)
        sa2_options_refuse(usage, "--%s: 0 to %d expected, %d found", option, SA2_LIMIT_LAYERS, n);
    return n >= 0 && n <= SA2_LIMIT_LAYERS;
}

bool sa2_bench_model_ready(const sa2_bench_model_options *options, const sa2_usage_text *usage)
{
    sa2_preset preset;
    sa2_error err = {0};
    if (!is_depth("layers", options->layers, usage) || !is_depth("blocks", options->blocks, usage))
        return false;
    if (sa2_preset_find(&preset, options->preset, &err) == SA2_OK)
        return true;
    sa2_options_refuse(usage, "--%s", err.message);
    return false;
}

sa2_status sa2_bench_model_open(sa2_model *model, sa2_backend *backend,
                                const sa2_bench_model_options *options, sa2_error *err)
{
    sa2_progress progress = {.what = "loading", .unit = "B"};
    const sa2_model_options model_options = {.parts = options->parts,
                                             .quant = options->quant,
                                             .rank = options->rank,
                                             .n_ranks = options->n_ranks,
                                             .progress = show,
                                             .context = &progress};
    progress.quiet = options->rank > 0;
    char place[SA2_MODEL_PLACE];
    if (options->folder != NULL)
        return sa2_model_open(model, backend, sa2_model_place(place, options->folder),
                              &model_options, err);
    return make(model, backend, options, &model_options, err);
}

static double matrix_bytes(const sa2_stream *s, const sa2_matrix *m)
{
    return (double)sa2_matrix_bytes(s, m->dtype, m->rows, m->cols);
}

double sa2_bench_model_step_bytes(const sa2_model *model)
{
    const sa2_decoder *d = &model->decoder;
    sa2_stream *s = NULL;
    if (sa2_stream_create(&s, model->backend, 0, NULL) != SA2_OK)
        return 0.0; /* not said */
    double bytes = matrix_bytes(s, &d->head);
    for (int i = 0; i < d->config.layers; i++) {
        const sa2_decoder_layer *l = &d->layers[i];
        bytes += matrix_bytes(s, &l->qkv) + matrix_bytes(s, &l->out) +
                 matrix_bytes(s, &l->gate_up) + matrix_bytes(s, &l->down);
    }
    sa2_stream_destroy(s);
    return bytes;
}
