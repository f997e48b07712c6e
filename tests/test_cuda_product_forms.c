/* Our own products of many rows, cut in every way that the CUDA backend has, on the simulated device: the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/cudasim/cudasim.h"
#include "tests/support/product_pair.h"

/* Tiles of which the last are not whole, groups of blocks of which the last have no weights, rings that go round. */
static void however_our_own_are_cut_results_are_the_same_to_the_bit(void **state)
{
    enum { ROWS = 200, N = 304, K = 700 };
    static const int tiles[] = {32, 64, 128, 192}, clusters[] = {1, 2, 4};
    (void)state;
    for (int i = 0; i < 4 * 3 * 2; i++) {
        int tile = tiles[i / 6], cluster = clusters[i / 2 % 3], split = i % 2;
        const product_kind *c = &product_kinds[i % PRODUCT_KINDS];
        char how[64], what[96];
        product_pair w;
        snprintf(how, sizeof how, "own,tile=%d,cluster=%d,split=%s", tile, cluster,
                 split ? "yes" : "no");
        snprintf(what, sizeof what, "%s, %s", how, c->name);
        product_pair_open(&w, how, i % 4 == 3);
        sa2_matrix m = product_matrix(&w, SA2_BF16, N, K, c->swiglu);
        sa2_tensor x = product_rows(&w, SA2_BF16, ROWS, K, K + (i % 5 == 0));
        cudasim_widest_cluster();
        product_results y = product_run_both(&w, c, &m, x);
        assert_int_equal(cudasim_widest_cluster(), cluster);
        if (memcmp(y.own.data, y.large.data, sa2_tensor_bytes(&y.own)) != 0)
            fail_msg("%s: other bits", what);
        product_pair_close(&w);
    }
}

/* As they should take least time, in graphs too. */
static void clusters_that_are_chosen_change_no_bit(void **state)
{
    static const int64_t shapes[][3] = {/* rows, n, k */ {17, 300, 960},
                                        {100, 200, 300},
                                        {450, 136, 500},
                                        {64, 1500, 70},
                                        {33, 512, 2000},
                                        {200, 640, 200}};
    product_pair w;
    int widest = 1;
    (void)state;
    product_pair_open(&w, "own,cluster=auto", true);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t rows = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        size_t mark = sa2_arena_mark(&w.memory);
        sa2_matrix m = product_matrix(&w, SA2_BF16, n, k, false);
        sa2_tensor x = product_rows(&w, SA2_BF16, rows, k, k);
        sa2_tensor own = product_rows(&w, SA2_BF16, rows, n, n);
        sa2_tensor large = product_rows(&w, SA2_BF16, rows, n, n);
        cudasim_widest_cluster();
        sa2_linear(w.own, (sa2_linear_args){.y = own, .x = x, .w = &m});
        product_finish(w.own);
        assert_int_equal(cudasim_widest_cluster(), 1);
        for (int turn = 0; turn < 2; turn++) { /* made, and found again */
            memset(large.data, 0xff, sa2_tensor_bytes(&large));
            sa2_stream_group_begin(w.large, "a test");
            sa2_linear(w.large, (sa2_linear_args){.y = large, .x = x, .w = &m});
            sa2_stream_group_end(w.large);
            product_finish(w.large);
            assert_memory_equal(own.data, large.data, sa2_tensor_bytes(&own));
        }
        int found = cudasim_widest_cluster();
        widest = found > widest ? found : widest;
        sa2_arena_rewind(&w.memory, mark);
    }
    assert_int_equal(widest, 4);
    product_pair_close(&w);
}

static void a_device_that_cannot_tell_of_clusters_is_used_without(void **state)
{
    enum { ROWS = 60, N = 300, K = 400 };
    product_pair w;
    sa2_error err = {0};
    (void)state;
    product_pair_open(&w, "own,cluster=4", false);
    sa2_matrix m = product_matrix(&w, SA2_BF16, N, K, false);
    sa2_tensor x = product_rows(&w, SA2_BF16, ROWS, K, K), y[2];
    for (int i = 0; i < 2; i++) {
        y[i] = product_rows(&w, SA2_F32, ROWS, N, N);
        cudasim_widest_cluster();
        sa2_linear(w.large, (sa2_linear_args){.y = y[i], .x = x, .w = &m});
        product_finish(w.large);
        assert_int_equal(cudasim_widest_cluster(), i == 0 ? 4 : 1);
        sa2_stream_destroy(w.large);
        cudasim_fail("cudaOccupancyMaxActiveClusters", 0, 1);
        assert_int_equal(sa2_stream_create(&w.large, w.backends[1], 1 << 20, &err), SA2_OK);
    }
    assert_memory_equal(y[0].data, y[1].data, sa2_tensor_bytes(&y[0]));
    product_pair_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_our_own_are_cut_results_are_the_same_to_the_bit),
        cmocka_unit_test(clusters_that_are_chosen_change_no_bit),
        cmocka_unit_test(a_device_that_cannot_tell_of_clusters_is_used_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
