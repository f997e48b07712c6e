#include "bench/product_cublaslt.h"

#include <stdlib.h>

#include "kernels/cuda/cublaslt.h"

struct sa2_product_cublaslt {
    sa2_cublaslt *library;
    void *queue;
    sa2_backend *backend;
    sa2_arena workspace;
};

sa2_status sa2_product_cublaslt_open(sa2_product_cublaslt **result, const char *const *names,
                                     sa2_stream *s, sa2_error *err)
{
    bool idle;
    sa2_product_cublaslt *made = calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "cuBLASLt: no memory");
    made->backend = sa2_stream_backend(s);
    sa2_stream_poll(s, &made->queue, &idle);
    sa2_status st = sa2_cublaslt_open(&made->library, names, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(made->backend, &made->workspace, SA2_CUBLASLT_WORKSPACE, err);
    if (st == SA2_OK)
        *result = made;
    else
        sa2_product_cublaslt_close(made);
    return st;
}

void sa2_product_cublaslt_close(sa2_product_cublaslt *p)
{
    if (p == NULL)
        return;
    sa2_backend_arena_destroy(p->backend, &p->workspace);
    sa2_cublaslt_close(p->library);
    free(p);
}

sa2_status sa2_product_cublaslt_run(sa2_product_cublaslt *p, sa2_tensor y, sa2_tensor x,
                                    sa2_tensor w, sa2_error *err)
{
    const sa2_cublaslt_product product = {.m = y.shape[0],
                                          .n = y.shape[1],
                                          .k = x.shape[1],
                                          .y = y.data,
                                          .x = x.data,
                                          .w = w.data,
                                          .y_step = y.stride,
                                          .x_step = x.stride,
                                          .w_step = w.stride,
                                          .queue = p->queue,
                                          .workspace = p->workspace.base};
    return sa2_cublaslt_multiply(p->library, &product, err);
}
