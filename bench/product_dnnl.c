#include "bench/product_dnnl.h"

#include <stdlib.h>

#if SA2_HAVE_DNNL
#include <dnnl.h>
#include <omp.h>

enum { N = 2048 };

typedef struct product {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_memory_t memory[3]; /* source, weights, destination */
} product;

static void run_product(void *context, int turn)
{
    product *p = context;
    (void)turn;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p->memory[0]},
                                    {DNNL_ARG_WEIGHTS, p->memory[1]},
                                    {DNNL_ARG_DST, p->memory[2]}};
    dnnl_primitive_execute(p->primitive, p->stream, 3, args);
    dnnl_stream_wait(p->stream);
}

/* oneDNN chooses the layout of the weights itself, as an inference engine would let it. */
static double time_product(const sa2_bench *bench, dnnl_engine_t engine, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {N, N};
    dnnl_memory_desc_t plain, any;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t chosen = NULL;
    product p = {0};
    double rate = 0.0;
    dnnl_memory_desc_init_by_tag(&plain, 2, dims, type, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&any, 2, dims, type, dnnl_format_tag_any);
    if (dnnl_matmul_desc_init(&desc, &plain, &any, NULL, &plain) != dnnl_success ||
        dnnl_primitive_desc_create(&chosen, &desc, NULL, engine, NULL) != dnnl_success)
        return 0.0;
    const dnnl_memory_desc_t *weights =
        dnnl_primitive_desc_query_md(chosen, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *layouts[] = {&plain, weights, &plain};
    bool made = dnnl_primitive_create(&p.primitive, chosen) == dnnl_success &&
                dnnl_stream_create(&p.stream, engine, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; made && i < 3; i++)
        made = dnnl_memory_create(&p.memory[i], layouts[i], engine, DNNL_MEMORY_ALLOCATE) ==
               dnnl_success;
    if (made)
        rate = 2.0 * N * N * N / sa2_bench_time(bench, run_product, &p).p50;
    for (int i = 0; i < 3; i++)
        if (p.memory[i] != NULL)
            dnnl_memory_destroy(p.memory[i]);
    if (p.stream != NULL)
        dnnl_stream_destroy(p.stream);
    if (p.primitive != NULL)
        dnnl_primitive_destroy(p.primitive);
    dnnl_primitive_desc_destroy(chosen);
    return rate;
}

double sa2_dnnl_product(const sa2_bench *bench, sa2_dtype dtype)
{
    dnnl_engine_t engine;
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        return 0.0;
    omp_set_num_threads(sa2_backend_threads(bench->backend));
    double rate = time_product(bench, engine, dtype == SA2_F32 ? dnnl_f32 : dnnl_bf16);
    dnnl_engine_destroy(engine);
    return rate;
}

#else

double sa2_dnnl_product(const sa2_bench *bench, sa2_dtype dtype)
{
    (void)bench;
    (void)dtype;
    return 0.0;
}

#endif
