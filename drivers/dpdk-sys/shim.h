/*
 * What bindgen reads: DPDK's headers, and the functions of shim.c that stand for inline ones.
 */
#ifndef FUGU_DPDK_SHIM_H
#define FUGU_DPDK_SHIM_H

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* Flags that DPDK writes as `1ULL << n`, which bindgen does not evaluate. */
static const uint64_t FUGU_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t FUGU_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t FUGU_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t FUGU_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t FUGU_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t FUGU_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t FUGU_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;

static const uint64_t FUGU_OFFLOAD_RX_CHECKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM |
    RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t FUGU_OFFLOAD_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t FUGU_OFFLOAD_TX_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
/* Addresses, and ports where there are any: the fields the owner of a connection is named by. */
static const uint64_t FUGU_RSS_FLOW = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
/* Without all of these a card's hash is not the one software computes. */
static const uint64_t FUGU_RSS_PORTS = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
    RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;

uint16_t fugu_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t count);
uint16_t fugu_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t count);
struct rte_mbuf *fugu_mbuf_alloc(struct rte_mempool *pool);
int fugu_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **bufs, unsigned count);
void fugu_mbuf_free(struct rte_mbuf *buf);
void fugu_mbuf_free_bulk(struct rte_mbuf **bufs, unsigned count);
int fugu_mbuf_linearize(struct rte_mbuf *buf);
unsigned fugu_mempool_size(const struct rte_mempool *pool);
int fugu_errno(void);
unsigned fugu_lcore_id(void);

/* Called with each piece of text that DPDK logs; not terminated by a zero. Returns 0 or an errno. */
typedef void (*fugu_log_sink)(uint32_t level, const char *text, size_t length);
int fugu_log_to(fugu_log_sink sink);

/* What the C compiler thinks of the layouts that Rust reads: compared in a test. */
struct fugu_layout {
	size_t mbuf_size, mbuf_align, mbuf_buf_addr, mbuf_data_off, mbuf_nb_segs, mbuf_ol_flags;
	size_t mbuf_pkt_len, mbuf_data_len, mbuf_hash, mbuf_buf_len, mbuf_pool, mbuf_next;
	size_t eth_conf, eth_dev_info, eth_stats, eth_xstat, eth_xstat_name, eth_link;
};
void fugu_layout_get(struct fugu_layout *out);

#endif
