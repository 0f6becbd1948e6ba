"""What a graph costs, on graphs that were made up."""

from edgevision_benchmarks import Cost
from edgevision_benchmarks._cost import Operator, count_cost


def test_convolutions_and_matrix_products_are_counted():
    operators = [
        Operator("CONV_2D", [0, 1, 2], [3]),  # 3x3, 3 to 8 channels, 16x16 comes out
        Operator("DEPTHWISE_CONV_2D", [3, 4, 5], [6]),  # 5x5
        Operator("ADD", [6, 7], [8]),  # with a constant: not counted
        Operator("TRANSPOSE_CONV", [9, 10, 8, -1], [11]),  # 2x2, 8 to 4 channels, 8x8 goes in
        Operator("FULLY_CONNECTED", [11, 12, -1], [13]),
    ]
    shapes = {
        **{0: (1, 32, 32, 3), 1: (8, 3, 3, 3), 2: (8,), 3: (1, 16, 16, 8), 4: (1, 5, 5, 8), 5: (8,), 6: (1, 8, 8, 8)},
        **{7: (8,), 8: (1, 8, 8, 8), 9: (4,), 10: (4, 2, 2, 8), 11: (1, 16, 16, 4), 12: (10, 1024), 13: (1, 10)},
    }
    cost = count_cost(operators, shapes, {0})
    assert cost.macs == 16 * 16 * 8 * 27 + 8 * 8 * 8 * 25 + 8 * 8 * 8 * 16 + 10 * 1024
    assert cost.parameters == 8 * 27 + 8 + 25 * 8 + 8 + 4 * 4 * 8 + 10 * 1024
    assert (cost.operators, cost.delegated, cost.partitions) == (5, 0, 0)


def test_float16_weights_count_once_and_a_product_of_two_inputs_has_none():
    operators = [
        Operator("DEQUANTIZE", [1], [2]),
        Operator("FULLY_CONNECTED", [0, 2, -1], [3]),
        Operator("FULLY_CONNECTED", [3, 4, -1], [5]),
    ]
    shapes = {0: (1, 6), 1: (4, 6), 2: (4, 6), 3: (1, 4), 4: (2, 4), 5: (1, 2)}
    cost = count_cost(operators, shapes, {0, 4})
    assert (cost.parameters, cost.macs) == (24, 32)


def test_what_a_delegate_runs_lies_between_its_inputs_and_outputs():
    chain = [
        Operator("QUANTIZE", [0], [1]),
        Operator("CONV_2D", [1, 10, 11], [2]),
        Operator("RELU", [2], [3]),
        Operator("CUSTOM", [3], [4]),
        Operator("RELU", [4], [5]),
        Operator("SOFTMAX", [5], [6]),
    ]
    shapes = dict.fromkeys(range(12), (1, 1, 1, 1))
    parts = [Operator("DELEGATE", [1, 10, 11], [3]), Operator("DELEGATE", [4], [5])]
    cost = count_cost([*chain, *parts], shapes, {0})
    assert cost == Cost(2, 1, operators=6, delegated=3, partitions=2, outside=("QUANTIZE", "CUSTOM", "SOFTMAX"))
