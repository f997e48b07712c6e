/* What a rank has of a model: every matrix is the slice of the whole one, from a folder and from a native file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/layout.h"
#include "loader/checkpoint_writer.h"
#include "loader/pack.h"
#include "runtime/native_file.h"
#include "tests/support/small_model.h"
#include "tests/support/test_files.h"

enum { PATH = 512 };

typedef struct world {
    char root[256], folder[PATH], native[PATH], int8[PATH], int4[PATH], fp8[PATH];
    sa2_backend *backend;
    sa2_stream *stream;
} world;

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    sa2_preset preset = test_small_preset();
    sa2_error err = {0};
    const sa2_checkpoint_options writing = {.n_threads = 2};
    const sa2_native_options plain = {.n_threads = 2};
    const sa2_native_options int8 = {.n_threads = 2, .quant = {SA2_QUANT_INT8, SA2_QUANT_INT8}};
    const sa2_native_options int4 = {.n_threads = 2, .quant = {SA2_QUANT_INT4, SA2_QUANT_INT8}};
    const sa2_native_options fp8 = {.n_threads = 2, .quant = {SA2_QUANT_FP8, SA2_QUANT_FP8}};
    preset.config.decoder.heads = 4;
    preset.config.decoder.kv_heads = 2;
    preset.config.decoder.head_dim = 32;
    preset.config.decoder.ffn = 224; /* 7 units: 4 of one rank, 3 of the other */
    test_folder_create(w->root, sizeof w->root);
    snprintf(w->folder, sizeof w->folder, "%s/model", w->root);
    snprintf(w->native, sizeof w->native, "%s/model.sa2", w->root);
    snprintf(w->int8, sizeof w->int8, "%s/int8.sa2", w->root);
    snprintf(w->int4, sizeof w->int4, "%s/int4.sa2", w->root);
    snprintf(w->fp8, sizeof w->fp8, "%s/fp8.sa2", w->root);
    if (sa2_backend_open(&w->backend, &(sa2_backend_options){.n_threads = 2}, &err) != SA2_OK ||
        sa2_stream_create(&w->stream, w->backend, 0, &err) != SA2_OK ||
        sa2_checkpoint_write(w->folder, &preset, &writing, &err) != SA2_OK ||
        sa2_native_write(w->folder, w->native, w->backend, &plain, &err) != SA2_OK ||
        sa2_native_write(w->folder, w->int8, w->backend, &int8, &err) != SA2_OK ||
        sa2_native_write(w->folder, w->int4, w->backend, &int4, &err) != SA2_OK ||
        sa2_native_write(w->folder, w->fp8, w->backend, &fp8, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_stream_destroy(w->stream);
    sa2_backend_close(w->backend);
    test_folder_remove(w->root);
    free(w);
    return 0;
}

static void open_model(const world *w, sa2_model *model, const char *path, int rank, int n_ranks)
{
    sa2_error err = {0};
    const sa2_model_options options = {.rank = rank, .n_ranks = n_ranks};
    if (sa2_model_open(model, w->backend, path, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

/* Rows [row, row + n) from column col on of the whole are rows of the part from to_row on. */
static void expect_slice(const world *w, const char *what, const sa2_matrix *whole,
                         const sa2_matrix *part, const sa2_cut *cut)
{
    const sa2_layout *layout = sa2_stream_layout(w->stream, whole->dtype);
    size_t width = sa2_dtype_bytes(layout->row_dtype);
    char *want = malloc((size_t)whole->cols * width), *found = malloc((size_t)part->cols * width);
    assert_int_equal(part->dtype, whole->dtype);
    for (int64_t i = 0; i < cut->n; i++) {
        layout->read_row(want, whole, cut->half, cut->row + i);
        layout->read_row(found, part, cut->half, cut->to_row + i);
        if (memcmp(found, want + (size_t)cut->col * width, (size_t)part->cols * width) != 0)
            fail_msg("%s, row %lld is another one", what, (long long)i);
    }
    free(want);
    free(found);
}

static void expect_layer(const world *w, const sa2_model *whole, const sa2_model *part, int i)
{
    const sa2_decoder_config *c = &whole->config.decoder;
    const sa2_decoder_layer *a = &whole->decoder.layers[i], *b = &part->decoder.layers[i];
    const sa2_shard *s = &part->shard;
    int64_t d = c->head_dim, q = c->heads * d, kv = c->kv_heads * d;
    const sa2_cut cuts[] = {
        {.row = s->heads.first * d, .n = s->heads.n * d},
        {.row = q + s->kv_heads.first * d, .n = s->kv_heads.n * d, .to_row = s->heads.n * d},
        {.row = q + kv + s->kv_heads.first * d,
         .n = s->kv_heads.n * d,
         .to_row = (s->heads.n + s->kv_heads.n) * d},
    };
    for (int k = 0; k < 3; k++) {
        expect_slice(w, "qkv", &a->qkv, &b->qkv, &cuts[k]);
        assert_memory_equal((float *)b->qkv_bias.data + cuts[k].to_row,
                            (float *)a->qkv_bias.data + cuts[k].row,
                            (size_t)cuts[k].n * sizeof(float));
    }
    sa2_cut ffn = {.half = SA2_MATRIX_GATE, .row = s->ffn.first, .n = s->ffn.n};
    expect_slice(w, "gate", &a->gate_up, &b->gate_up, &ffn);
    ffn.half = SA2_MATRIX_UP;
    expect_slice(w, "up", &a->gate_up, &b->gate_up, &ffn);
    expect_slice(w, "out", &a->out, &b->out, &(sa2_cut){.n = c->hidden, .col = s->heads.first * d});
    expect_slice(w, "down", &a->down, &b->down, &(sa2_cut){.n = c->hidden, .col = s->ffn.first});
    assert_int_equal(b->down.cols, s->ffn.n);
    assert_memory_equal(a->mlp_norm.data, b->mlp_norm.data, (size_t)c->hidden * sizeof(float));
}

static void expect_slices(const world *w, const char *of_whole, const char *of_parts)
{
    sa2_model whole, part;
    open_model(w, &whole, of_whole, 0, 0);
    for (int rank = 0; rank < 2; rank++) {
        open_model(w, &part, of_parts, rank, 2);
        for (int i = 0; i < whole.config.decoder.layers; i++)
            expect_layer(w, &whole, &part, i);
        expect_slice(w, "head", &whole.decoder.head, &part.decoder.head,
                     &(sa2_cut){.row = part.shard.vocab.first, .n = part.shard.vocab.n});
        assert_int_equal(part.decoder.head.rows, part.shard.vocab.n);
        assert_int_equal(part.decoder.config.kv_heads, 1);
        if (rank == 0) /* who embeds and hears */
            assert_memory_equal(part.decoder.embedding.data, whole.decoder.embedding.data, 4096);
        else
            assert_null(part.decoder.embedding.data);
        assert_true((part.encoder.blocks != NULL) == (rank == 0));
        sa2_model_close(&part);
    }
    sa2_model_close(&whole);
}

static void a_rank_has_its_slices_of_a_folder(void **state)
{
    const world *w = *state;
    expect_slices(w, w->folder, w->folder);
}

static void a_rank_has_its_slices_of_a_native_file(void **state)
{
    const world *w = *state;
    expect_slices(w, w->native, w->native);
    expect_slices(w, w->folder, w->native);
}

/* Steps, factors and powers too: a slice is not rounded again. */
static void a_rank_has_its_slices_of_a_rounded_file(void **state)
{
    const world *w = *state;
    expect_slices(w, w->int8, w->int8);
    expect_slices(w, w->int4, w->int4);
    expect_slices(w, w->fp8, w->fp8);
}

static void whole_rows_are_used_where_they_lie(void **state)
{
    const world *w = *state;
    sa2_model model;
    open_model(w, &model, w->native, 1, 2);
    const sa2_pack_block *head = sa2_pack_find(model.pack, "model/lm_head.weight");
    const sa2_pack_block *gate_up =
        sa2_pack_find(model.pack, "model/model.layers.1.mlp.gate_proj+mlp.up_proj.weight");
    const sa2_layout *layout = sa2_layout_find(head->layout);
    assert_ptr_equal(model.decoder.head.data,
                     head->data + layout->bytes(model.shard.vocab.first, head->shape[1]));
    assert_ptr_equal(model.decoder.layers[1].gate_up.data,
                     gate_up->data + layout->bytes(2 * model.shard.ffn.first, gate_up->shape[1]));
    size_t copied = 0;
    for (int i = 0; i < model.config.decoder.layers; i++) {
        const sa2_decoder_layer *l = &model.decoder.layers[i];
        copied +=
            sa2_arena_round(sa2_matrix_bytes(w->stream, SA2_BF16, l->qkv.rows, l->qkv.cols)) +
            sa2_arena_round(sa2_matrix_bytes(w->stream, SA2_BF16, l->out.rows, l->out.cols)) +
            sa2_arena_round(sa2_matrix_bytes(w->stream, SA2_BF16, l->down.rows, l->down.cols)) +
            sa2_arena_round(sa2_tensor_bytes(&l->qkv_bias));
    }
    assert_int_equal(model.arena.used, copied);
    sa2_model_close(&model);
}

/* Each block is checked by one rank: whatever byte is wrong, somebody sees it. */
static void damage_anywhere_is_seen_by_one_rank(void **state)
{
    const world *w = *state;
    static const char *const blocks[] = {
        "model/lm_head.weight", "model/model.layers.0.mlp.down_proj.weight",
        "model/model.layers.1.mlp.gate_proj+mlp.up_proj.weight",
        "model/model.layers.0.self_attn.q_proj+self_attn.k_proj+self_attn.v_proj.bias"};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        sa2_pack *pack;
        assert_int_equal(sa2_pack_open(&pack, w->native, NULL), SA2_OK);
        const sa2_pack_block *block = sa2_pack_find(pack, blocks[i]);
        const sa2_pack_block *first = sa2_pack_get_block(pack, 0);
        long at = 4096 + (long)(block->data - first->data) + (long)block->bytes / 2;
        sa2_pack_close(pack);
        FILE *file = fopen(w->native, "r+b");
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 1, file);
        fflush(file);
        int n_seen = 0;
        for (int rank = 0; rank < 2; rank++) {
            sa2_model model;
            sa2_error err = {0};
            const sa2_model_options options = {.rank = rank, .n_ranks = 2};
            sa2_status st = sa2_model_open(&model, w->backend, w->native, &options, &err);
            if (st == SA2_OK) {
                sa2_model_close(&model);
                continue;
            }
            n_seen++;
            assert_int_equal(st, SA2_ERR_FORMAT);
            assert_non_null(strstr(err.message, blocks[i]));
        }
        assert_int_equal(n_seen, 1);
        fseek(file, at, SEEK_SET);
        fputc(byte, file);
        fclose(file);
    }
}

static void more_ranks_than_heads_are_refused(void **state)
{
    const world *w = *state;
    sa2_model model;
    sa2_error err = {0};
    const sa2_model_options options = {.rank = 0, .n_ranks = 4};
    assert_int_equal(sa2_model_open(&model, w->backend, w->native, &options, &err),
                     SA2_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "4 ranks: a number that divides the model's 2 key-value"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_has_its_slices_of_a_folder),
        cmocka_unit_test(a_rank_has_its_slices_of_a_native_file),
        cmocka_unit_test(a_rank_has_its_slices_of_a_rounded_file),
        cmocka_unit_test(whole_rows_are_used_where_they_lie),
        cmocka_unit_test(damage_anywhere_is_seen_by_one_rank),
        cmocka_unit_test(more_ranks_than_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
