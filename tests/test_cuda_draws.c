/* Draws on the device from step to step: what a slot has said is sent when the device has it not, and rows that the device
 * cannot take are the host's. On the simulated GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "runtime/serving/device_draws.h"
#include "tests/support/random_logits.h"

enum { N = 300, SLOTS = 4, ROOM = 8 << 20 };

typedef struct world {
    sa2_backend *backend;
    sa2_stream *s;
    sa2_arena device, host;
    sa2_device_draws *draws;
    sa2_tensor logits; /* [1, N] of the device */
    float row[N];
    sa2_sampler_work work;
    sa2_sampling_params params;
    sa2_sampler sampler;
    uint64_t random;
} world;

static void begin(world *w)
{
    const int32_t prompt[] = {1, 2, 3};
    sa2_sampler_init(&w->sampler, w->sampler.seen, &w->params, 3, 0, N, prompt, 3);
}

static int open_world(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    sa2_error err = {0};
    if (sa2_backend_open(&w->backend, &(sa2_backend_options){.device = "cuda-sim"}, &err) !=
            SA2_OK ||
        sa2_stream_create(&w->s, w->backend, 1 << 20, &err) != SA2_OK ||
        sa2_backend_arena_create(w->backend, &w->device, ROOM, &err) != SA2_OK ||
        sa2_arena_create(&w->host, ROOM, &err) != SA2_OK ||
        sa2_device_draws_create(&w->draws, SLOTS, N, &w->device, &w->host, &err) != SA2_OK ||
        sa2_sampler_work_init(&w->work, N, &w->host, &err) != SA2_OK)
        fail_msg("%s", err.message);
    w->logits = sa2_tensor_2d(sa2_arena_take(&w->device, N * sizeof(float)), SA2_F32, 1, N);
    w->params = sa2_sampling_defaults(SA2_SAMPLING_VLLM);
    w->params.repetition_penalty = 2.0f;
    w->params.frequency_penalty = 1.0f;
    w->sampler.seen = sa2_arena_take(&w->host, sa2_sampler_bytes(N));
    begin(w);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    sa2_stream_destroy(w->s);
    sa2_backend_arena_destroy(w->backend, &w->device);
    sa2_arena_destroy(&w->host);
    sa2_backend_close(w->backend);
    free(w);
    return 0;
}

/* A draw in a slot from new logits, with few tokens that are likely: it is what the host would choose. */
static void draw(world *w, int slot)
{
    sa2_error err = {0};
    int32_t want;
    sa2_logprob found;
    random_logits(&w->random, w->row, N, 1);
    for (int i = 0; i < 8; i++)
        w->row[i] += 6.0f;
    sa2_upload(w->s, w->logits, w->row);
    sa2_device_draws_begin(w->draws, 0);
    assert_int_equal(sa2_device_draws_add(w->draws, 0, slot, &w->sampler, false), 0);
    sa2_device_draws_run(w->draws, w->s, w->logits);
    if (sa2_stream_finish(w->s, &err) != SA2_OK ||
        sa2_sampler_next(&w->sampler, w->row, &w->work, &want, &err) != SA2_OK ||
        sa2_device_draws_take(w->draws, 0, 0, &w->sampler, &found, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(found.id, want);
}

static void a_slot_is_up_to_date_whoever_has_chosen(void **state)
{
    world *w = *state;
    for (int i = 0; i < 30; i++) {
        draw(w, i / 10);
        if (i % 3 == 0)
            for (int k = 0; k < 5; k++)
                sa2_sampler_accept(&w->sampler, (i + k) % 8); /* the host's choice */
    }
    for (int turn = 0; turn < 5; turn++) { /* somebody else, who has said as much */
        begin(w);
        sa2_device_draws_forget(w->draws, 1);
        for (int k = 0; k < turn; k++)
            draw(w, 1);
    }
}

static void what_was_sent_but_not_taken_is_sent_again(void **state)
{
    world *w = *state;
    draw(w, 0);
    for (int i = 0; i < 10;
         i++) { /* a step that fails behind the draw, or of which nobody wants the token */
        sa2_device_draws_begin(w->draws, 0);
        assert_int_equal(sa2_device_draws_add(w->draws, 0, 0, &w->sampler, false), 0);
        sa2_device_draws_run(w->draws, w->s, w->logits);
        assert_int_equal(sa2_stream_finish(w->s, NULL), SA2_OK);
        if (i % 2 == 0) {
            sa2_device_draws_drop(w->draws, 0, 0);
            sa2_sampler_accept(&w->sampler, i % 8);
        }
        draw(w, 0);
    }
}

static void a_row_with_more_additions_than_there_is_room_for_is_the_hosts(void **state)
{
    enum { MANY = 3000 };
    world *w = *state;
    static sa2_logit_bias bias[MANY]; /* of an id each, in a request; here that does not matter */
    sa2_sampler other = w->sampler;
    w->params.logit_bias = bias;
    w->params.n_logit_bias = MANY;
    sa2_sampling_params fewer = w->params;
    fewer.n_logit_bias = 1000;
    other.params = &fewer;
    sa2_device_draws_begin(w->draws, 0);
    assert_int_equal(sa2_device_draws_add(w->draws, 0, 0, &w->sampler, false), 0);
    assert_int_equal(sa2_device_draws_add(w->draws, 1, 1, &w->sampler, false), -1);
    assert_int_equal(sa2_device_draws_add(w->draws, 1, 2, &w->sampler, false), -1);
    assert_int_equal(sa2_device_draws_add(w->draws, 2, 3, &other, false), 1);
}

static void what_the_device_cannot_is_the_hosts(void **state)
{
    world *w = *state;
    const int32_t id = 5;
    sa2_device_draws_begin(w->draws, 0);
    w->params.round_to_bf16 = true;
    assert_int_equal(sa2_device_draws_add(w->draws, 0, 0, &w->sampler, false), -1);
    w->params.round_to_bf16 = false;
    w->params.allowed = (sa2_token_list){&id, 1};
    assert_int_equal(sa2_device_draws_add(w->draws, 0, 0, &w->sampler, false), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_slot_is_up_to_date_whoever_has_chosen, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(what_was_sent_but_not_taken_is_sent_again, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(
            a_row_with_more_additions_than_there_is_room_for_is_the_hosts, open_world, close_world),
        cmocka_unit_test_setup_teardown(what_the_device_cannot_is_the_hosts, open_world,
                                        close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
