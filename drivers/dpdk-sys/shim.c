/*
 * The functions that DPDK defines inline in its headers, as real ones. The packet path calls each once per
 * burst, so the call costs a fraction of a cycle per packet. No logic here.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>

#include "shim.h"

uint16_t
fugu_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, burst, count);
}

uint16_t
fugu_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, burst, count);
}

struct rte_mbuf *
fugu_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int
fugu_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **bufs, unsigned count)
{
	return rte_pktmbuf_alloc_bulk(pool, bufs, count);
}

void
fugu_mbuf_free(struct rte_mbuf *buf)
{
	/*
	 * Where the next piece would be stands on the second line of the description, which nobody has looked at yet. What
	 * tells that there is none stands on the first; so it does of memory that is not the buffer's own, as some drivers
	 * attach it, and of who else may hold it.
	 */
	if (likely(buf->nb_segs == 1 && RTE_MBUF_DIRECT(buf) && rte_mbuf_refcnt_read(buf) == 1))
		rte_mbuf_raw_free(buf);
	else
		rte_pktmbuf_free(buf);
}

void
fugu_mbuf_free_bulk(struct rte_mbuf **bufs, unsigned count)
{
	rte_pktmbuf_free_bulk(bufs, count);
}

int
fugu_mbuf_linearize(struct rte_mbuf *buf)
{
	return rte_pktmbuf_linearize(buf);
}

unsigned
fugu_mempool_size(const struct rte_mempool *pool)
{
	return pool->size;
}

int
fugu_errno(void)
{
	return rte_errno;
}

unsigned
fugu_lcore_id(void)
{
	return rte_lcore_id();
}

static ssize_t
sink_write(void *cookie, const char *text, size_t length)
{
	fugu_log_sink sink;

	/* ISO C has no cast from object to function pointer; both are one word on x86-64. */
	*(void **)&sink = cookie;
	sink((uint32_t)rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int
fugu_log_to(fugu_log_sink sink)
{
	cookie_io_functions_t functions = { .write = sink_write };
	void *cookie = *(void **)&sink;
	FILE *stream = fopencookie(cookie, "w", functions);

	if (stream == NULL)
		return ENOMEM;
	/* One write per message piece; DPDK flushes after each anyway. */
	setvbuf(stream, NULL, _IOLBF, 0);
	return rte_openlog_stream(stream) == 0 ? 0 : EINVAL;
}

void
fugu_layout_get(struct fugu_layout *out)
{
	out->mbuf_size = sizeof(struct rte_mbuf);
	out->mbuf_align = _Alignof(struct rte_mbuf);
	out->mbuf_buf_addr = offsetof(struct rte_mbuf, buf_addr);
	out->mbuf_data_off = offsetof(struct rte_mbuf, data_off);
	out->mbuf_nb_segs = offsetof(struct rte_mbuf, nb_segs);
	out->mbuf_ol_flags = offsetof(struct rte_mbuf, ol_flags);
	out->mbuf_pkt_len = offsetof(struct rte_mbuf, pkt_len);
	out->mbuf_data_len = offsetof(struct rte_mbuf, data_len);
	out->mbuf_hash = offsetof(struct rte_mbuf, hash);
	out->mbuf_buf_len = offsetof(struct rte_mbuf, buf_len);
	out->mbuf_pool = offsetof(struct rte_mbuf, pool);
	out->mbuf_next = offsetof(struct rte_mbuf, next);
	out->eth_conf = sizeof(struct rte_eth_conf);
	out->eth_dev_info = sizeof(struct rte_eth_dev_info);
	out->eth_stats = sizeof(struct rte_eth_stats);
	out->eth_xstat = sizeof(struct rte_eth_xstat);
	out->eth_xstat_name = sizeof(struct rte_eth_xstat_name);
	out->eth_link = sizeof(struct rte_eth_link);
}
