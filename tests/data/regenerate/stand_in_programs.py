"""Programs whose answers the stand-in has to give as TensorFlow does: each sets `answer`.

`tf` is TensorFlow, `tf1` is `tf.compat.v1`, `np` is NumPy, and `pathlib` is there too.
`data` is the folder with the cases, and the working directory is empty.
Programs in `GRAPHS` run in an empty default graph.
"""

from __future__ import annotations

#: Conversions and shapes, as expressions.
VALUES = [
    "tf.constant(1.5)",
    "tf.constant([1, 2, 3])",
    "tf.constant([1, 2**40])",
    "tf.constant(True)",
    "tf.constant('größe')",
    "tf.constant([['a', b'b']])",
    "tf.constant(1 + 2j)",
    "tf.constant([])",
    "tf.constant([1, 2.5])",
    "tf.constant(np.arange(6).reshape(2, 3))",
    "tf.constant(np.float64(2.5))",
    "tf.constant([np.float64(2.5), np.float64(1)])",
    "tf.constant(np.array(['x', 'yy']))",
    "tf.constant(0.1, tf.float64)",
    "tf.constant(0.1, dtype='bfloat16')",
    "tf.constant([1, 2], tf.uint8)",
    "tf.constant([1, 300], tf.uint8)",
    "tf.constant([1.5], tf.int32)",
    "tf.constant([1], tf.float16)",
    "tf.constant('x', tf.int32)",
    "tf.constant(1, tf.string)",
    "tf.constant(True, tf.float32)",
    "tf.constant(np.array([1.5, 2.5]), tf.float32)",
    "tf.constant(np.array([1.5, -2.5]), tf.int32)",
    "tf.constant(np.array([1, 2]), tf.float32)",
    "tf.constant(7, shape=[2, 2])",
    "tf.constant([1, 2, 3, 4], shape=(2, 2))",
    "tf.constant([1, 2, 3], shape=(2, 2))",
    "tf.constant([[1, 2], [3]])",
    "tf.constant(None)",
    "tf.convert_to_tensor([1.0, 2.0])",
    "tf.convert_to_tensor(tf.constant(1))",
    "tf.convert_to_tensor(tf.constant(1), tf.float32)",
    "tf.convert_to_tensor([1, 2], dtype_hint=tf.float32)",
    "tf.convert_to_tensor([1.5, 2], dtype_hint=tf.int32)",
    "tf.cast([1.7, -1.7, 0.0], tf.int32)",
    "tf.cast(tf.constant([0.1, 1e30]), tf.bfloat16)",
    "tf.cast(tf.constant([0.1, 3.0], tf.bfloat16), tf.float32)",
    "tf.cast(np.array([0.1, 70000.0]), tf.float16)",
    "tf.cast([0, 1, 2], tf.bool)",
    "tf.cast([True, False], tf.float64)",
    "tf.cast(np.array([1 + 2j]), tf.float32)",
    "tf.cast([1.0], tf.complex64)",
    "tf.cast([300, -1], tf.uint8)",
    "tf.cast(['1'], tf.int32)",
    "tf.cast(5, tf.int64)",
    "tf.cast(5, 'float32')",
    "tf.dtypes.cast([1.5], tf.float32)",
    "tf.squeeze([[[1], [2]]])",
    "tf.squeeze([[[1], [2]]], axis=0)",
    "tf.squeeze([[[1], [2]]], [0, 2])",
    "tf.squeeze([[[1], [2]]], axis=-1)",
    "tf.squeeze([[[1], [2]]], axis=1)",
    "tf.squeeze([[[1], [2]]], axis=[])",
    "tf1.squeeze([[1]], squeeze_dims=[0])",
    "tf.expand_dims([1, 2], 0)",
    "tf.expand_dims([1, 2], -1)",
    "tf.expand_dims([1, 2], 5)",
    "tf.transpose([[1, 2], [3, 4], [5, 6]])",
    "tf.transpose(np.arange(24).reshape(2, 3, 4), [1, 2, 0])",
    "tf.transpose(np.arange(24).reshape(2, 3, 4), perm=tf.constant([1, 2, 0]))",
    "tf.transpose([[1, 2]], [0])",
    "tf.transpose(np.array([[1 + 2j]]), conjugate=True)",
    "tf.reshape([1, 2, 3, 4], [2, 2])",
    "tf.reshape([1, 2, 3, 4], [-1, 1])",
    "tf.reshape([1, 2, 3, 4], -1)",
    "tf.reshape([[1]], [])",
    "tf.reshape([1, 2, 3], [2, 2])",
    "tf.concat([[1, 2], [3]], 0)",
    "tf.concat([[[1], [2]], [[3], [4]]], axis=1)",
    "tf.concat([tf.constant([1.0]), [2]], 0)",
    "tf.concat([tf.constant([1.0]), tf.constant([2])], 0)",
    "tf.concat([[1, 2], [3]], 1)",
    "tf.stack([[1, 2], [3, 4]])",
    "tf.stack([[1, 2], [3, 4]], axis=1)",
    "tf.stack([[1, 2], [3]])",
    "tf.identity([1, 2])",
    "tf.zeros([2, 3])",
    "tf.zeros((2,), tf.int32)",
    "tf.zeros([1], tf.string)",
    "tf.ones([])",
    "tf.zeros_like([1, 2])",
    "tf.zeros_like([1, 2], tf.float32)",
    "tf.constant([1, 2]).numpy()",
    "tf.constant(1.5).numpy()",
    "tf.constant('a').numpy()",
    "tf.constant(['a']).numpy()",
    "tf.constant([[1, 2], [3, 4]])[1]",
    "tf.constant([[1, 2], [3, 4]])[:, 0]",
    "tf.constant([[1, 2], [3, 4]])[0, 1]",
    "len(tf.constant([[1, 2], [3, 4]]))",
    "len(tf.constant(1))",
    "[item for item in tf.constant([1, 2])]",
    "int(tf.constant(3)), float(tf.constant(1.5)), bool(tf.constant(0))",
    "np.asarray(tf.constant([1.5]))",
    "np.array(tf.constant([1, 2]), np.float64)",
    "tf.constant([1, 2]) == [1, 3]",
    "tf.constant([1, 2]) != tf.constant([1, 3])",
    "tf.constant(1) == None",
    "tf.constant(1) == tf.constant(1.0)",
    "hash(tf.constant(1))",
    "str(tf.constant([1.5]))",
    "str(tf.constant('a'))",
    "repr(tf.constant([[1, 2], [3, 4]]))",
    "repr(tf.constant('a'))",
    "tf.constant([1]).get_shape()",
    "tf.constant([1]).ndim",
    "tf.is_tensor(tf.constant(1)), tf.is_tensor(1), tf.is_tensor(np.ones(2))",
    "tf.TensorShape([2, None])",
    "tf.TensorShape(None)",
    "tf.TensorShape([])",
    "tf.TensorShape(3)",
    "tf.TensorShape([-1])",
    "str(tf.TensorShape([2, None])), str(tf.TensorShape(None)), str(tf.TensorShape([5]))",
    "tf.TensorShape([2, None]).as_list()",
    "tf.TensorShape(None).as_list()",
    "tf.TensorShape([2, 3]).num_elements(), tf.TensorShape([2, None]).num_elements()",
    "tf.TensorShape([2, 3]).rank, tf.TensorShape([2, 3]).ndims, tf.TensorShape(None).rank",
    "tf.TensorShape([2, 3])[0], tf.TensorShape([2, 3])[-1:], tf.TensorShape([None])[0]",
    "tf.TensorShape([2, 3]) == [2, 3], tf.TensorShape([2, 3]) == (2, 4), tf.TensorShape([2]) == tf.TensorShape([2])",
    "tf.TensorShape([2, None]).is_compatible_with([2, 7]), tf.TensorShape([2]).is_compatible_with([2, 7])",
    "tf.TensorShape([2]).concatenate([3, None])",
    "tf.TensorShape([2]) + [3]",
    "len(tf.TensorShape([2, 3])), list(tf.TensorShape([2, 3])), bool(tf.TensorShape(None))",
    "len(tf.TensorShape(None))",
    "tf.TensorShape([2, None]).is_fully_defined()",
    "tf.compat.as_str(b'a'), tf.compat.as_str('a'), tf.compat.as_text(b'a'), tf.compat.as_bytes('ö')",
    "tf.compat.as_str_any(5), tf.compat.as_str_any(b'a')",
    "tf.compat.as_str(5)",
    "tf.executing_eagerly()",
    "tf.get_logger().name",
    "tf1.logging.INFO, tf1.logging.WARN, tf1.logging.ERROR, tf1.logging.DEBUG, tf1.logging.FATAL",
    "tf1.logging.info('x'), tf1.logging.set_verbosity(tf1.logging.ERROR), tf1.logging.get_verbosity()",
    "tf1.logging.set_verbosity('WARN')",
    "tf.config.list_physical_devices('GPU'), tf.config.experimental.list_physical_devices('GPU')",
    "tf.config.list_logical_devices('GPU'), tf.config.get_visible_devices('GPU')",
    "tf.config.set_visible_devices([], 'GPU'), tf.random.set_seed(1), tf1.set_random_seed(1)",
    "tf.test.is_gpu_available(), tf.test.gpu_device_name(), 1",
    "tf1.reset_default_graph()",
    "tf1.GraphKeys.GLOBAL_VARIABLES, tf1.GraphKeys.TRAINABLE_VARIABLES, tf1.GraphKeys.LOCAL_VARIABLES",
    "tf1.GraphKeys.MODEL_VARIABLES, tf1.GraphKeys.MOVING_AVERAGE_VARIABLES, tf1.GraphKeys.UPDATE_OPS",
    "tf.Variable([1.0, 2.0], name='w')",
    "tf.Variable(3)",
    "tf.Variable([1.0], name='w').assign([2.0]).numpy()",
    "tf.Variable([1.0], name='w').assign([2.0, 3.0])",
    "tf.Variable([1.0], name='w').value()",
    "tf.Variable([1.0], trainable=False).trainable",
    "repr(tf.Variable([1.0], name='w'))",
    "tf.Variable(np.zeros((2, 3)), dtype=tf.float32).shape",
]

#: Functions that change files, in an empty folder.
FILES = [
    "tf.io.gfile.makedirs('a/b'); tf.io.gfile.makedirs('a/b'); answer = tf.io.gfile.isdir('a/b')",
    "tf.io.gfile.mkdir('a'); tf.io.gfile.mkdir('a')",
    "tf.io.gfile.mkdir('a/b')",
    "answer = [tf.io.gfile.join('a', 'b'), tf.io.gfile.join('a', '/b'), tf.io.gfile.join(b'a', b'b')]",
    "answer = [tf.io.gfile.join('gs://a', 'b', 'c'), tf.io.gfile.join('gs://a/', 'b'), tf.io.gfile.join('a')]",
    "pathlib.Path('x').write_text('abc'); tf.io.gfile.copy('x', 'y'); answer = pathlib.Path('y').read_text()",
    "pathlib.Path('x').write_text('abc'); pathlib.Path('y').touch(); tf.io.gfile.copy('x', 'y')",
    "pathlib.Path('x').write_text('abc'); pathlib.Path('y').touch(); tf.io.gfile.copy('x', 'y', overwrite=True); answer = pathlib.Path('y').read_text()",
    "tf.io.gfile.copy('x', 'y')",
    "pathlib.Path('x').write_text('abc'); tf.io.gfile.rename('x', 'y'); answer = tf.io.gfile.listdir('.')",
    "pathlib.Path('x').write_text('abc'); pathlib.Path('y').touch(); tf.io.gfile.rename('x', 'y')",
    "pathlib.Path('x').touch(); pathlib.Path('y').touch(); tf.io.gfile.rename('x', 'y', overwrite=True); answer = tf.io.gfile.listdir('.')",
    "tf.io.gfile.rename('x', 'y')",
    "pathlib.Path('x').touch(); tf.io.gfile.remove('x'); answer = tf.io.gfile.listdir('.')",
    "tf.io.gfile.remove('x')",
    "tf.io.gfile.makedirs('a/b'); tf.io.gfile.remove('a')",
    "tf.io.gfile.makedirs('a/b'); pathlib.Path('a/b/x').touch(); tf.io.gfile.rmtree('a'); answer = tf.io.gfile.listdir('.')",
    "tf.io.gfile.rmtree('a')",
    "pathlib.Path('x').write_text('abc'); s = tf.io.gfile.stat('x'); answer = [s.length, s.is_directory]",
    "tf.io.gfile.mkdir('a'); answer = tf.io.gfile.stat('a').is_directory",
    "tf.io.gfile.stat('x')",
    "tf.io.gfile.makedirs('a/b'); pathlib.Path('a/x').touch(); pathlib.Path('a/b/y').touch(); answer = list(tf.io.gfile.walk('a'))",
    "tf.io.gfile.makedirs('a/b'); pathlib.Path('a/b/y').touch(); answer = list(tf.io.gfile.walk('a', topdown=False))",
    "answer = list(tf.io.gfile.walk('nowhere'))",
    "tf1.gfile.MakeDirs('a/b'); tf1.gfile.MkDir('a/c'); answer = sorted(tf1.gfile.ListDirectory(dirname='a'))",
    "pathlib.Path('x').touch(); tf1.gfile.Copy('x', 'y', overwrite=True); tf1.gfile.Rename('y', 'z'); tf1.gfile.Remove('x'); "
    "answer = tf1.gfile.ListDirectory('.')",
    "tf1.gfile.MakeDirs('a/b'); tf1.gfile.DeleteRecursively('a'); answer = tf1.gfile.Exists('a')",
    "pathlib.Path('x').write_text('abc'); answer = tf1.gfile.Stat('x').length",
    "tf1.gfile.MakeDirs('a/b'); answer = list(tf1.gfile.Walk('a'))",
    "from tensorflow.python.lib.io import file_io as f; f.write_string_to_file('x', 'abc'); "
    "answer = [f.read_file_to_string('x'), f.file_exists('x'), f.is_directory('.'), f.FileIO('x', 'r').read()]",
    "from tensorflow.python.lib.io import file_io as f; f.recursive_create_dir('a/b'); f.create_dir('c'); "
    "answer = sorted(f.list_directory('.')), f.get_matching_files('a*')",
]

_SAVER = "saver = tf1.train.import_meta_graph(data + '/v1/saver/model.ckpt-0.meta')"
_V2 = "saver = tf1.train.import_meta_graph(data + '/sharded-saver/v2/model.ckpt-3.meta', clear_devices=True)"
_PARTS = "saver = tf1.train.import_meta_graph(data + '/partitioned/model.ckpt-12.meta')"
_RESTORE = "sess = tf1.Session(); saver.restore(sess, data + '{}')"
_RESTORE_V1 = _RESTORE.format("/v1/saver/model.ckpt-0")
_RESTORE_V2 = _RESTORE.format("/sharded-saver/v2/model.ckpt-3")
_RESTORE_PARTS = _RESTORE.format("/partitioned/model.ckpt-12")

#: Programs in the words of TensorFlow 1.
GRAPHS = [
    f"{_SAVER}\nanswer = [(v.name, str(v.shape), v.dtype, repr(v)) for v in tf1.global_variables()]",
    f"{_V2}\nanswer = [(v.name, str(v.shape), v.dtype.base_dtype, v.op.name) for v in tf1.global_variables()]",
    f"{_V2}\nanswer = [v.name for v in tf1.trainable_variables()]",
    f"{_PARTS}\nanswer = [(v.name, str(v.shape)) for v in tf1.global_variables()]",
    f"{_SAVER}\n{_RESTORE_V1}\nanswer = sess.run(tf1.global_variables())",
    f"{_V2}\n{_RESTORE_V2}\nanswer = sess.run(tf1.global_variables())",
    f"{_PARTS}\n{_RESTORE_PARTS}\nanswer = sess.run(tf1.global_variables())",
    f"{_V2}\n{_RESTORE_V2}\nv = tf1.global_variables()\nanswer = sess.run({{'a': v[0], 'b': (v[1], [v[0].op.name + '/Read/ReadVariableOp:0'])}})",
    f"{_V2}\n{_RESTORE_V2}\nv = tf1.global_variables()[0]\nwith sess.as_default(): answer = v.eval()",
    f"{_V2}\n{_RESTORE_V2}\nv = tf1.global_variables()[0]\nanswer = v.eval(session=sess), v.value().eval(session=sess)",
    f"{_V2}\nsess = tf1.Session()\nsess.run(tf1.global_variables())",
    f"{_V2}\nsess = tf1.Session()\nsaver.restore(sess, data + '/nowhere')",
    f"{_V2}\nsess = tf1.Session()\nsaver.restore(sess, None)",
    f"{_V2}\nsess = tf1.Session()\nsaver.restore(sess, data + '/dtypes/ckpt')",
    f"{_SAVER}\nsess = tf1.Session()\ntf1.train.Saver().restore(sess, data + '/v1/saver/model.ckpt-0')\n"
    "answer = sess.run(tf1.global_variables())",
    f"{_V2}\n{_RESTORE_V2}\ng = tf1.get_default_graph()\n"
    "answer = [sess.run(g.get_tensor_by_name(v.op.name + '/Read/ReadVariableOp:0')) for v in tf1.global_variables()]",
    f"{_SAVER}\n{_RESTORE_V1}\ng = tf1.get_default_graph()\n"
    "answer = [sess.run(g.get_tensor_by_name(v.name)) for v in tf1.global_variables() if v.dtype.name.endswith('_ref')]",
    f"{_V2}\ntf1.get_default_graph().get_tensor_by_name('nowhere:0')",
    f"{_V2}\ntf1.get_default_graph().get_tensor_by_name('nowhere')",
    f"{_V2}\ntf1.get_default_graph().get_operation_by_name('nowhere')",
    f"{_V2}\ng = tf1.get_default_graph()\nanswer = [(o.name, o.type) for o in g.get_operations()]",
    f"{_V2}\nanswer = sorted(tf1.get_default_graph().get_all_collection_keys())",
    f"{_V2}\nanswer = [v.name for v in tf1.get_collection(tf1.GraphKeys.GLOBAL_VARIABLES, scope='.*b')]",
    f"{_V2}\n{_RESTORE_V2}\nanswer = sess.run(tf.cast(tf1.global_variables()[0], tf.float64))",
    f"{_V2}\n{_RESTORE_V2}\nv = tf1.global_variables()\nanswer = sess.run(tf.reshape(v[0], [-1]))",
    f"{_V2}\n{_RESTORE_V2}\nv = tf1.global_variables()[0]\nanswer = sess.run(v.assign(np.zeros(v.shape)))",
    f"{_V2}\n{_RESTORE_V2}\nv = tf1.global_variables()[0]\nv.load(np.ones(v.shape), sess)\nanswer = sess.run(v)",
    f"{_V2}\n{_RESTORE_V2}\nsess.run(None)",
    f"{_V2}\n{_RESTORE_V2}\nsess.run(3)",
    f"{_V2}\n{_RESTORE_V2}\nsess.run('nowhere:0')",
    f"{_V2}\n{_RESTORE_V2}\nsess.close()\nsess.run(tf1.global_variables())",
    "tf1.train.import_meta_graph('nowhere.meta')",
    "tf1.train.Saver()",
    "a = tf1.get_variable('a', initializer=np.arange(3.0)); b = tf1.Variable([1, 2], name='b')\n"
    "sess = tf1.Session(); sess.run(tf1.global_variables_initializer()); answer = sess.run([a, b]), a.name, b.name",
    "a = tf1.Variable([1.0], name='a'); b = tf1.Variable([2.0], name='a'); answer = a.name, b.name",
    "a = tf1.Variable([1.0]); b = tf1.Variable([2.0]); answer = a.name, b.name",
    "with tf1.variable_scope('s'):\n  a = tf1.get_variable('a', initializer=[1.0])\n  b = tf1.Variable(1.0, name='b')\n"
    "answer = a.name, b.name",
    "with tf1.name_scope('s'): b = tf1.Variable(1.0, name='b'); a = tf1.get_variable('a', initializer=[1.0])\n"
    "answer = a.name, b.name",
    "a = tf1.get_variable('a', shape=[2]); tf1.get_variable('a', shape=[2])",
    "a = tf1.get_variable('a', shape=[2])\n"
    "with tf1.variable_scope(tf1.get_variable_scope(), reuse=True): answer = tf1.get_variable('a').name",
    "a = tf1.get_variable('a', shape=[2], initializer=tf1.zeros_initializer()); sess = tf1.Session()\n"
    "sess.run(a.initializer); answer = sess.run(a)",
    "a = tf1.Variable([1.0], name='a'); sess = tf1.Session(); sess.run(a)",
    "a = tf1.Variable([1.0], name='a'); p = tf1.placeholder(tf.float32, [1]); sess = tf1.Session()\n"
    "answer = sess.run(tf1.assign(a, p), {p: [5.0]}), sess.run(a), p.name, str(p.shape), p.dtype",
    "p = tf1.placeholder(tf.float32); tf1.Session().run(p)",
    "p = tf1.placeholder(tf.float32, name='p'); answer = tf1.Session().run(p, {'p:0': [1.0]})",
    "a = tf1.Variable([1.0], name='a'); b = tf1.Variable([2.0], name='b'); sess = tf1.Session()\n"
    "sess.run(tf1.variables_initializer([a])); answer = sess.run(a)\nsess.run(b)",
    "answer = tf1.Session().run(tf.constant([1, 2])), tf1.Session().run(tf.constant('a'))",
    "answer = tf1.Session().run([tf1.no_op(), tf1.group()])",
    "a = tf1.Variable([1.0, 2.0], name='scope/a'); b = tf1.Variable(3, name='b'); sess = tf1.Session()\n"
    "sess.run(tf1.global_variables_initializer()); path = tf1.train.Saver().save(sess, 'out/ckpt')",
    "a = tf1.Variable([1.0, 2.0], name='scope/a'); b = tf1.Variable(3, name='b'); sess = tf1.Session()\n"
    "sess.run(tf1.global_variables_initializer()); path = tf1.train.Saver().save(sess, './ckpt', global_step=7)\n"
    "answer = path, tf.train.latest_checkpoint('.'), [(n, s, tf.train.load_variable(path, n)) for n, s in "
    "tf.train.list_variables(path)], pathlib.Path(path + '.index').read_bytes(), pathlib.Path('checkpoint').read_text()",
    "a = tf1.Variable([1.0, 2.0], name='a'); sess = tf1.Session(); sess.run(a.initializer)\n"
    "saver = tf1.train.Saver({'other': a}); one = saver.save(sess, './one'); two = saver.save(sess, './two')\n"
    "answer = tf.train.list_variables('./two'), pathlib.Path('checkpoint').read_text(), saver.last_checkpoints",
    "a = tf1.Variable([1.0, 2.0], name='a'); sess = tf1.Session(); sess.run(a.initializer)\n"
    "tf1.train.Saver().save(sess, './x'); b = tf1.Variable([0.0], name='b'); tf1.train.Saver([b]).restore(sess, './x')",
    "a = tf1.Variable([1.0, 2.0], name='a'); sess = tf1.Session(); sess.run(a.initializer)\n"
    "tf1.train.Saver().save(sess, './x'); b = tf1.Variable([0.0], name='b'); "
    "tf1.train.Saver({'a': b}).restore(sess, './x')",
    "answer = tf1.get_default_session(), tf.executing_eagerly()",
    "with tf1.Session() as sess: answer = tf1.get_default_session() is sess",
    "with tf1.Session() as sess: sess.run(tf.constant(1))\nsess.run(tf.constant(1))",
    "sess = tf1.Session()\nmessage = tf1.saved_model.loader.load(sess, ['serve'], data + '/savedmodel-tf1')\n"
    "answer = [v.name for v in tf1.global_variables()], sess.run(tf1.global_variables()), "
    "sorted(message.signature_def), list(message.meta_info_def.tags)",
    "tf1.saved_model.loader.load(tf1.Session(), ['other'], data + '/savedmodel-tf1')",
    "tf1.saved_model.loader.load(tf1.Session(), ['serve'], 'nowhere')",
    "from tensorflow.python.framework import meta_graph\n"
    "answer = len(meta_graph.read_meta_graph_file(data + '/v1/saver/model.ckpt-0.meta').graph_def.node)",
    "with open(data + '/../savedmodel/saved_model.pb', 'rb') as file: raw = file.read()\n"
    "from tensorflow.core.protobuf import saved_model_pb2\nm = saved_model_pb2.SavedModel.FromString(raw)\n"
    "g = m.meta_graphs[0].graph_def\ntf.import_graph_def(g, name='x')\n"
    "answer = [o.name for o in tf1.get_default_graph().get_operations()][:20]",
]

#: SavedModels and tools, executed eagerly.
LOADED = [
    "m = tf.saved_model.load(data + '/savedmodel-tf1', tags=['serve'])\n"
    "answer = [(v.name, str(v.shape), v.dtype, v.numpy(), v.value()) for v in m.variables]",
    "m = tf.saved_model.load(data + '/savedmodel-tf1', tags=['serve', 'gpu'])\nanswer = sorted(m.signatures)",
    "tf.saved_model.load(data + '/savedmodel-tf1')",
    "m = tf.saved_model.load(data + '/savedmodel-tf2')\nanswer = sorted(m.signatures)",
    "m = tf.saved_model.load(data + '/savedmodel-tf2')\nm.variables",
    "m = tf.saved_model.load(data + '/../keras/v2/saved_model')\n"
    "answer = [(v.name, str(v.shape), v.trainable, v.numpy()) for v in m.variables]",
    "m = tf.saved_model.load(data + '/../keras/v2/saved_model')\nanswer = [v.name for v in m.trainable_variables]",
    "f = tf.saved_model.load(data + '/savedmodel-tf2').signatures['serving_default']\n"
    "answer = repr(f.structured_input_signature), repr(f.structured_outputs)",
    "tf.saved_model.load(data + '/savedmodel-tf2').signatures['serving_default'](word='x')",
    "tf.saved_model.load('nowhere')",
    "tf.saved_model.load(data + '/savedmodel-tf2', tags=['other'])",
    "answer = tf.saved_model.contains_saved_model(data + '/savedmodel-tf2'), tf.saved_model.contains_saved_model('.')",
    *(
        "import contextlib, io\nfrom tensorflow.python.tools import inspect_checkpoint as i\nout = io.StringIO()\n"
        f"with contextlib.redirect_stdout(out): i.print_tensors_in_checkpoint_file({arguments})\nanswer = out.getvalue()"
        for arguments in (
            "data + '/sharded/three', '', False",
            "data + '/sharded/three', None, True",
            "data + '/sharded/three', '', False, True",
            "data + '/sharded/three', 'b/kernel', False",
            "data + '/sharded/three', 'nowhere', False",
            "data + '/sharded/three', '', False, True, 'kernel'",
            "data + '/nowhere', '', False",
        )
    ),
    "from tensorflow.core.framework import types_pb2\nanswer = types_pb2.DT_FLOAT, types_pb2.DataType.Name(9)",
    "from tensorflow.core.framework import tensor_pb2\np = tensor_pb2.TensorProto(dtype=1, float_val=[2.5])\n"
    "answer = tf.make_ndarray(p)",
    "from tensorflow.python.framework import tensor_util\nanswer = tensor_util.constant_value(tf.constant([1, 2]))",
    "from tensorflow.python.training import checkpoint_management as c\n"
    "answer = c.latest_checkpoint(data + '/manager/relative')[-14:], c.checkpoint_exists(data + '/sharded/three')",
    "from tensorflow.python.framework import dtypes, errors_impl\nanswer = dtypes.float32, errors_impl.NotFoundError.__name__",
]

_DIGITS = (
    "saver = tf1.train.import_meta_graph(data + '/../digits-train/model.ckpt-322.meta')\nsess = tf1.Session()\n"
    "saver.restore(sess, data + '/../digits-train/model.ckpt-322')\n"
    "x = np.linspace(0, 1, 2 * 32 * 32 * 3, dtype=np.float32).reshape(2, 32, 32, 3)\n"
)
#: Programs whose answer is computed: a list of floats, in an empty default graph.
COMPUTED = [
    f"{_DIGITS}answer = sess.run('logits:0', {{'input:0': x}})",
    f"{_DIGITS}g = tf1.get_default_graph()\nlogits = g.get_tensor_by_name('logits:0')\n"
    "with sess.as_default(): answer = logits.eval({g.get_tensor_by_name('input:0'): x})",
    f"{_DIGITS}v = [v for v in tf1.global_variables() if v.name.endswith('dense/bias:0')][-1]\n"
    "v.load(np.arange(10.0), sess)\nanswer = sess.run('logits:0', {'input:0': x})",
    "m = tf.saved_model.load(data + '/savedmodel-tf2')\nf = m.signatures['serving_default']\n"
    "answer = f(image=tf.constant([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]]))['logits']",
    "m = tf.saved_model.load(data + '/savedmodel-tf2')\nf = m.signatures['serving_default']\n"
    "answer = f(tf.constant([[1.0, 2.0, 3.0]]))['best']",
]
