#include "tests/support/small_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loader/synthetic.h"
#include "tests/support/test_tokenizer.h"

sa2_preset test_small_preset(void)
{
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    sa2_decoder_config *decoder = &preset.config.decoder;
    decoder->layers = 2;
    decoder->hidden = 128;
    decoder->ffn = 192;
    decoder->heads = 2;
    decoder->kv_heads = 1;
    decoder->head_dim = 64;
    decoder->max_positions = 1024;
    preset.config.encoder.width = 64;
    preset.config.encoder.heads = 1;
    return preset;
}

static void open_preset(test_model *m, const sa2_preset *preset, const sa2_backend_options *device,
                        int rank, int n_ranks)
{
    const sa2_model_options loading = {.rank = rank, .n_ranks = n_ranks};
    sa2_error err = {0};
    sa2_tensor_map *map = NULL;
    if (sa2_backend_open(&m->backend, device, &err) != SA2_OK ||
        sa2_synthetic_map(&map, preset, 0, &err) != SA2_OK ||
        sa2_model_from_map(&m->model, m->backend, &preset->config, map,
                           preset->vocab_entries + SA2_PRESET_ADDED_TOKENS, &loading,
                           &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_tensor_map_destroy(map);
    test_tokenizer tokenizer;
    test_tokenizer_tiny(&tokenizer);
    sa2_encoder_destroy(tokenizer.encoder);
    m->model.tokenizer = tokenizer.tokenizer; /* closed with the model */
    m->model.special = tokenizer.special;
}

void test_model_open(test_model *m, int n_threads)
{
    test_model_open_on(m, "cpu", n_threads);
}

void test_model_open_on(test_model *m, const char *device, int n_threads)
{
    test_model_open_with(m, &(sa2_backend_options){.device = device, .n_threads = n_threads});
}

void test_model_open_with(test_model *m, const sa2_backend_options *device)
{
    sa2_preset preset = test_small_preset();
    open_preset(m, &preset, device, 0, 0);
}

void test_model_open_tiny(test_model *m, int n_threads)
{
    test_model_open_tiny_rank(m, n_threads, 0, 0);
}

void test_model_open_tiny_rank(test_model *m, int n_threads, int rank, int n_ranks)
{
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, "tiny", NULL), SA2_OK);
    const sa2_backend_options device = {.device = "cpu", .n_threads = n_threads};
    open_preset(m, &preset, &device, rank, n_ranks);
}

void test_model_close(test_model *m)
{
    sa2_model_close(&m->model);
    sa2_backend_close(m->backend);
}
