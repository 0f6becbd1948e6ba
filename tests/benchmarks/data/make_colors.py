"""Make colors.tflite, the model that the tests seal: is a picture, on average, red, green, blue or dark?

Run it with TensorFlow. Input uint8 (1, 6, 8, 3), output float32 (1, 4); fixed weights, no metadata.
"""

from pathlib import Path

WEIGHTS = [[8.0, -8.0, -8.0, -8.0], [-8.0, 8.0, -8.0, -8.0], [-8.0, -8.0, 8.0, -8.0]]
BIASES = [0.0, 0.0, 0.0, 4.0]


def main():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 6, 8, 3), tf.uint8)])
    def colors(pixels):
        mean = tf.reduce_mean(tf.cast(pixels, tf.float32) / 255, axis=[1, 2])
        return tf.nn.softmax(tf.matmul(mean, tf.constant(WEIGHTS)) + tf.constant(BIASES))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([colors.get_concrete_function()])
    Path(__file__).with_name("colors.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
