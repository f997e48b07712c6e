#include "runtime/model.h"

#include "runtime/model_files.h"
#include "runtime/pack_map.h"
#include "runtime/pack_sink.h"
#include "runtime/weights.h"

/* The same calls measure and fill. Rank 0 alone hears. */
static void load_parts(sa2_model *model, int parts, sa2_weights *w)
{
    w->shard = &model->shard;
    if (model->shard.rank > 0)
        parts = SA2_MODEL_DECODER;
    if (parts == 0 || (parts & SA2_MODEL_HEARING) != 0) {
        sa2_audio_encoder_load(&model->encoder, &model->config.encoder, w);
        sa2_adaptor_load(&model->adaptor, &model->config, w);
    }
    if (parts == 0 || (parts & SA2_MODEL_DECODER) != 0)
        sa2_decoder_load(&model->decoder, &model->config.decoder, w);
}

/* Bytes of what is copied out of the map, which for a native file is little, and of what is used where it is mapped. */
static sa2_status measure(const sa2_model_config *config, const sa2_shard *shard,
                          sa2_backend *backend, const sa2_model_options *options,
                          sa2_tensor_map *map, sa2_weights *w, sa2_error *err)
{
    sa2_stream *stream;
    sa2_status st = sa2_stream_create(&stream, backend, 0, err);
    if (st != SA2_OK)
        return st;
    sa2_model measured = {.config = *config, .shard = *shard};
    *w = (sa2_weights){
        .stream = stream, .map = map, .dtype = SA2_BF16, .decoder = options->quant, .err = err};
    load_parts(&measured, options->parts, w);
    w->stream = NULL;
    w->shard = NULL;
    sa2_stream_destroy(stream);
    return w->status;
}

sa2_status sa2_model_pack(sa2_pack_writer *writer, sa2_backend *backend,
                          const sa2_model_config *config, sa2_tensor_map *map,
                          sa2_quant_options quant, sa2_error *err)
{
    sa2_stream *stream;
    sa2_pack_sink sink = {0};
    sa2_status st = sa2_stream_create(&stream, backend, 0, err);
    if (st != SA2_OK)
        return st;
    st = sa2_pack_sink_open(&sink, writer, SA2_PACK_MODEL, map, backend, err);
    if (st == SA2_OK) {
        sa2_model measured = {.config = *config};
        sa2_weights w = {.stream = stream,
                         .map = map,
                         .sink = &sink,
                         .dtype = SA2_BF16,
                         .decoder = quant,
                         .err = err};
        load_parts(&measured, 0, &w);
        st = w.status;
    }
    if (st == SA2_OK)
        st = sa2_pack_sink_finish(&sink, err);
    sa2_pack_sink_close(&sink);
    sa2_stream_destroy(stream);
    return st;
}

typedef struct progress {
    const sa2_model_options *options;
    size_t total;
} progress;

static void tell_progress(void *context, size_t bytes)
{
    const progress *p = context;
    if (p->options->progress != NULL)
        p->options->progress(p->options->context, "weights", bytes, p->total);
}

sa2_status sa2_model_from_map(sa2_model *model, sa2_backend *backend,
                              const sa2_model_config *config, sa2_tensor_map *map, int n_token_rows,
                              const sa2_model_options *options, sa2_error *err)
{
    *model = (sa2_model){.config = *config,
                         .n_token_rows = n_token_rows,
                         .backend = backend,
                         .pack = sa2_pack_share(sa2_tensor_map_pack(map))};
    const sa2_model_options none = {0};
    options = options != NULL ? options : &none;
    sa2_weights measured = {0};
    sa2_status st = SA2_OK;
    if (options->n_ranks > 1)
        st = sa2_shard_make(&model->shard, &config->decoder, options->rank, options->n_ranks, err);
    if (st == SA2_OK)
        st = measure(config, &model->shard, backend, options, map, &measured, err);
    progress told = {.options = options, .total = measured.bytes + measured.mapped};
    model->weight_bytes = told.total + measured.host_bytes;
    if (st == SA2_OK && options->measured != NULL)
        st = options->measured(options->context, model, err);
    if (st != SA2_OK) {
        sa2_model_close(model);
        return st;
    }
    sa2_stream *stream = NULL;
    st = sa2_backend_arena_create(backend, &model->arena, measured.bytes, err);
    if (st == SA2_OK)
        st = sa2_arena_reserve(&model->host, measured.host_bytes, err);
    if (st != SA2_OK) {
        st = sa2_wrap(err, st, "weights");
        goto cleanup;
    }
    st = sa2_stream_create(&stream, backend, 0, err);
    if (st != SA2_OK)
        goto cleanup;
    sa2_weights w = {.stream = stream,
                     .map = map,
                     .arena = &model->arena,
                     .host = &model->host,
                     .dtype = SA2_BF16,
                     .decoder = options->quant,
                     .progress = tell_progress,
                     .context = &told,
                     .err = err};
    load_parts(model, options->parts, &w);
    st = w.status;
    if (st == SA2_OK)
        st = sa2_stream_finish(stream, err);

cleanup:
    sa2_stream_destroy(stream);
    if (st != SA2_OK)
        sa2_model_close(model);
    return st;
}

sa2_status sa2_model_open(sa2_model *model, sa2_backend *backend, const char *path,
                          const sa2_model_options *options, sa2_error *err)
{
    *model = (sa2_model){0};
    sa2_model_files files;
    sa2_status st = sa2_model_files_open(&files, path, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor_map_set_threads(files.map, sa2_backend_threads(backend));
    sa2_error report = {0}; /* empty: NaN here and there add up */
    st = sa2_model_from_map(model, backend, &files.config, files.map,
                            sa2_tokenizer_n_ids(files.vocabulary.tokenizer), options, &report);
    if (st == SA2_OK) {
        model->tokenizer = files.vocabulary.tokenizer;
        model->special = files.vocabulary.special;
        files.vocabulary.tokenizer = NULL; /* the model's from now on */
    } else if (err != NULL) {
        *err = report;
        sa2_wrap(err, st, "model %s", path);
    }
    sa2_model_files_close(&files);
    return st;
}

void sa2_model_close(sa2_model *model)
{
    sa2_tokenizer_destroy(model->tokenizer);
    if (model->backend != NULL)
        sa2_backend_arena_destroy(model->backend, &model->arena);
    sa2_arena_destroy(&model->host);
    sa2_pack_close(model->pack);
    *model = (sa2_model){0};
}
